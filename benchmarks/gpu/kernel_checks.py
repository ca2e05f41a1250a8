"""Each Triton kernel against plain PyTorch, on a CUDA device or interpreted on the CPU.

A check takes the device, and raises AssertionError where the kernel's result is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from subspace_bench.common import rng
from subspace_bench.projectors import make
from subspace_bench.projectors.fastfood import Fastfood
from subspace_bench.projectors.hashed import Hashed
from subspace_bench.projectors.regenerated import Regenerated
from subspace_bench.projectors.sparse import Sparse
from subspace_bench.projectors.srht import SRHT
from subspace_bench.records.config import TrainingConfig
from subspace_bench.training.fused_adam import BatchedStep

KEY = rng.key(3, "any")
ADAM: dict[str, Any] = {"lr": 3e-3, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8}
Check = Callable[[str], None]
Sizes = tuple[tuple[int, ...], ...]


def gaussian(seed: int, *shape: int) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def require(condition: bool, what: str) -> None:
    """Raises AssertionError; `assert` would vanish under `python -O`."""
    if not condition:
        raise AssertionError(what)


def relative_error(found: Tensor, exact: Tensor) -> float:
    """The largest difference over the largest element of `exact`."""
    exact = exact.double().cpu()
    return float((found.double().cpu() - exact).abs().max() / exact.abs().max())


def sizes(device: str, few: Sizes, more: Sizes) -> Sizes:
    """`few`, which reach every branch; on a device also `more`, as an interpreter is slow."""
    return few if device == "cpu" else (*few, *more)


def check_dense(device: str) -> None:
    from subspace_bench.kernels.triton.dense import adjoint, project

    few = ((1, 1, 1), (1025, 3, 2), (300, 130, 3))
    for native, dim, count in sizes(device, few, ((700, 130, 1), (2100, 70, 5))):
        p = gaussian(0, dim, native).bfloat16()
        bits, exact = p.view(torch.int16).to(device), p.double()
        omega, theta = gaussian(1, count, dim), gaussian(2, count, native)
        forward, back = omega.double() @ exact, theta.double() @ exact.T
        found = project(bits, omega.to(device)).cpu().double()
        torch.testing.assert_close(found, forward, rtol=1e-5, atol=1e-4)
        found = adjoint(bits, theta.to(device)).cpu().double()
        torch.testing.assert_close(found, back, rtol=1e-5, atol=1e-3)


def check_hadamard(device: str) -> None:
    from subspace_bench.kernels.triton.hadamard import transform_
    from subspace_bench.projectors.hadamard import levels_

    few = ((1,), (5, 2), (70, 128), (3, 1 << 13), (0, 8))
    for shape in sizes(device, few, ((3, 16), (2, 4096), (1, 1 << 17), (1, 1 << 20))):
        plain = gaussian(0, *shape)
        x = plain.to(device, copy=True)
        transform_(x)
        require(torch.equal(x.cpu(), levels_(plain)), str(shape))
    plain = gaussian(0, 3, 1 << 8)
    x = plain.to(device, copy=True)
    transform_(x, tile=5, run=2)  # in three passes
    require(torch.equal(x.cpu(), levels_(plain)), "three passes")


def check_fastfood(device: str) -> None:
    from subspace_bench.kernels.triton import fastfood as kernels
    from subspace_bench.projectors.fastfood import multiply_signs_, permute

    more = ((1, 4096, 1, 3), (1, 1 << 13, 7, 8), (1, 1 << 14, 70, 73))
    for rows, n, first, last in sizes(device, ((2, 256, 0, 3), (1, 2048, 1, 2)), more):
        blocks = range(first, last)
        x, g = gaussian(0, rows, len(blocks), n), gaussian(1, len(blocks), n)
        here, factors = x.to(device, copy=True), g.to(device)
        for scatter in (False, True):
            found = kernels.permute(here, factors, KEY, blocks.start, scatter)
            same = torch.equal(found.cpu(), permute(x, g, KEY, blocks, scatter))
            require(same, f"blocks of {n}, scatter {scatter}")
        kernels.multiply_signs_(here, KEY, blocks.start)
        require(torch.equal(here.cpu(), multiply_signs_(x, KEY, blocks)), f"signs, blocks of {n}")


def check_fastfood_blocks(device: str) -> None:
    """Two layers; the adjoint of the longer takes two launches or more."""
    from subspace_bench.kernels.triton import fastfood_blocks as kernels

    more = ((9_000, 1_000, 3), (21_840, 10_000, 1), (1_000_003, 300, 2))
    for native, dim, count in sizes(device, ((1_000, 30, 2),), more):
        layers = [native // 3, native - native // 3]
        p = make("fastfood-layers", native, dim, seed=3, layers=layers)
        assert isinstance(p, Fastfood)
        omega, theta = gaussian(1, count, dim), gaussian(2, count, native)
        image = torch.zeros(count, native, device=device)
        sums = torch.zeros(2, count, dim, device=device)
        for chunk, start, stop in p._chunks(p._all, omega):
            g, s = (x.to(device) for x in p._diagonals(chunk, start, stop, omega))
            kernels.project(omega.to(device), g, s, image[:, start:stop], p._key, chunk.start)
            kernels.adjoint(theta.to(device)[:, start:stop], g, s, sums, p._key, chunk.start)
        torch.testing.assert_close(image.cpu().double(), p(omega.double()), rtol=1e-5, atol=1e-5)
        exact = p.transpose(theta.double())
        torch.testing.assert_close(sums.sum(0).cpu().double(), exact, rtol=1e-5, atol=1e-5)


def check_srht(device: str) -> None:
    from subspace_bench.kernels.triton import srht as kernels

    more = ((100, 2), (256, 1), (2_047, 1), (199_210, 3), ((1 << 20) + 1, 2))
    for native, count in sizes(device, ((1, 1), (1_300, 2)), more):
        p = make("srht", native, max(1, native // 3), seed=3)
        assert isinstance(p, SRHT)
        for dtype in (torch.float32, torch.float64):
            drawn = gaussian(0, count, native).to(dtype)
            for back in (False, True):
                rows, exact = drawn.to(device, copy=True), drawn.clone()
                kernels.fold_(rows, p._size, p._key, p._size**-0.5, back)
                p._fold(exact, back)
                require(torch.equal(rows.cpu(), exact), f"fold, D = {native}, back {back}")
            rows, exact = drawn.to(device, copy=True), drawn.clone()
            kernels.multiply_signs_(rows, p._size, p._key, 2, p._size**-0.5)
            p._multiply_signs(exact)
            require(torch.equal(rows.cpu(), exact), f"signs, D = {native}")
            rows, exact = torch.zeros_like(rows), torch.zeros_like(exact)
            kernels.spread(drawn[:, : p.dim].contiguous().to(device), p.positions.to(device), rows)
            exact[:, p.positions.long()] = drawn[:, : p.dim]
            require(torch.equal(rows.cpu(), exact), f"spread, D = {native}")


def check_hashed(device: str) -> None:
    from subspace_bench.kernels.triton.hashed import adjoint, project

    more = ((4096, 10, 1), (9001, 100, 2), (16_389, 3_000, 1), (1_000_003, 70_000, 1))
    for native, dim, count in sizes(device, ((1, 1, 1), (4100, 100, 2), (4099, 1100, 1)), more):
        p = make("hashed", native, dim, seed=3)
        assert isinstance(p, Hashed)
        omega, theta = gaussian(1, count, dim), gaussian(2, count, native)
        scale, rest = p._scale(omega), p.rest.to(device)
        found = project((omega * scale).to(device), native, p._key, p._bits, rest)
        require(torch.equal(found.cpu(), p(omega)), f"Pω, {native} × {dim}")
        sums = adjoint(theta.to(device), dim, p._key, p._bits, rest).cpu()
        exact = p.transpose(theta.double())
        torch.testing.assert_close((sums * scale).double(), exact, rtol=1e-5, atol=1e-5)


def check_regenerated(device: str) -> None:
    from subspace_bench.kernels.triton.regenerated import adjoint, project

    more = ((1, 1, 1), (300, 7, 3), (600, 130, 1))
    normals, signs = sizes(device, ((70, 3, 9),), more), sizes(device, ((130, 130, 1),), more)
    cases = [("regenerated", size) for size in normals]
    for name, (native, dim, count) in cases + [("regenerated-signs", size) for size in signs]:
        native *= 8 if "signs" in name else 1
        projector = make(name, native, dim, seed=3)
        assert isinstance(projector, Regenerated)
        key, kind = projector.key, projector.kind
        p = projector.entries(slice(0, native), slice(0, dim))
        omega, theta = gaussian(1, count, dim), gaussian(2, count, native)
        if dim < 10:
            omega[0] = torch.eye(dim)[dim // 2]
        forward, back = (torch.full_like(x, torch.nan, device=device) for x in (theta, omega))
        project(omega.to(device), forward, key, kind)
        adjoint(theta.to(device), back, key, kind)
        torch.testing.assert_close(forward.cpu(), omega @ p, rtol=1e-5, atol=5e-5)
        torch.testing.assert_close(back.cpu(), theta @ p.T, rtol=1e-5, atol=2e-4)
        if dim < 10:
            torch.testing.assert_close(forward[0].cpu(), p[dim // 2], rtol=4 * 2.0**-23, atol=0)


def check_projected_adam(device: str) -> None:
    """Three steps of two runs, each against Adam between two products, in float64."""
    from subspace_bench.kernels.cpu.projected_adam import step_eager

    protocol = TrainingConfig(3, 1, ADAM["lr"], betas=(ADAM["beta1"], ADAM["beta2"]))
    for native, dim in ((1, 1), (17, 3), (1_040, 9), (1_601, 5)):
        shapes = ((2, dim, native), (2, native), (2, dim), (2, native))
        drawn = [gaussian(i, *shape) for i, shape in enumerate(shapes)]
        columns, gradient, omega, origin = (x.to(device, copy=True) for x in drawn)
        theta = torch.empty_like(origin)
        both = BatchedStep(columns, omega, origin, theta, protocol)
        both.by_triton = True  # also where it is interpreted
        p, g, w, start = (x.double() for x in drawn)
        m, v, exact = torch.zeros_like(w), torch.zeros_like(w), torch.empty_like(start)
        for t in range(1, 4):
            both.set_step(ADAM["lr"], t)
            both(gradient)
            for i in range(2):
                step_eager(p[i], g[i], w[i], m[i], v[i], start[i], exact[i], **ADAM, t=t)
            torch.testing.assert_close(theta.cpu().double(), exact, rtol=1e-4, atol=1e-4)
        for mine, theirs in ((both.omega, w), (both.m, m), (both.v, v)):
            torch.testing.assert_close(mine.cpu().double(), theirs, rtol=1e-4, atol=1e-5)


def check_sparse(device: str) -> None:
    from subspace_bench.kernels.triton import sparse as kernels

    more = ((21_840, 1_000, 2), (21_840, 10_000, 1), (1_048_579, 3_000, 1), (1, 1, 1))
    for native, dim, count in sizes(device, ((4_500, 9, 2), (150, 150, 1)), more):
        p = make("sparse", native, dim, seed=3)
        assert isinstance(p, Sparse)
        starts, entries = p.starts.to(device), p.entries.to(device)
        shape = p._low, native, p._rows
        pointers, listed = kernels.by_column(starts, entries, *shape, dim, most=500)
        omega, theta = (
            gaussian(i, count, n).double().to(device) for i, n in ((1, dim), (2, native))
        )
        exact = p(omega.cpu()), p.transpose(theta.cpu())
        for dtype, bound in ((torch.float32, 1e-5), (torch.float64, 1e-14)):
            image = kernels.project(omega.to(dtype), starts, entries, *shape)
            back = kernels.adjoint(theta.to(dtype), pointers, listed)
            for found, right in zip((image, back), exact, strict=True):
                error = relative_error(native**-0.25 * found, right)
                require(error < bound, f"{native} × {dim}: off by {error:.2g}")


CHECKS: dict[str, Check] = {
    "dense": check_dense,
    "Adam, one read of P": check_projected_adam,
    "hadamard": check_hadamard,
    "fastfood": check_fastfood,
    "fastfood, whole blocks": check_fastfood_blocks,
    "srht": check_srht,
    "sparse": check_sparse,
    "hashed": check_hashed,
    "regenerated": check_regenerated,
}
