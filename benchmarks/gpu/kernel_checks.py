"""Each Triton kernel against plain PyTorch, on a CUDA device or interpreted on the CPU.

A check takes the device, and raises AssertionError where the kernel's result is wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import torch
from torch import Tensor

from subspace_bench.common import rng
from subspace_bench.projectors import make
from subspace_bench.projectors.hashed import Hashed
from subspace_bench.projectors.regenerated import Regenerated

KEY = rng.key(3, "any")
Check = Callable[[str], None]


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


def check_dense(device: str) -> None:
    from subspace_bench.kernels.triton.dense import adjoint, project

    for native, dim, count in ((1, 1, 1), (1025, 3, 2), (700, 130, 1), (2100, 70, 5)):
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

    for shape in ((1,), (5, 2), (3, 16), (70, 128), (2, 4096), (3, 1 << 13), (1, 1 << 17), (0, 8)):
        plain = gaussian(0, *shape)
        x = plain.to(device, copy=True)
        transform_(x)
        assert torch.equal(x.cpu(), levels_(plain)), shape


def check_fastfood(device: str) -> None:
    from subspace_bench.kernels.triton import fastfood as kernels
    from subspace_bench.projectors.fastfood import multiply_signs_, permute

    for rows, n, blocks in ((2, 256, range(3)), (1, 4096, range(1, 3)), (1, 1 << 13, range(7, 8))):
        x, g = gaussian(0, rows, len(blocks), n), gaussian(1, len(blocks), n)
        here, factors = x.to(device, copy=True), g.to(device)
        for scatter in (False, True):
            found = kernels.permute(here, factors, KEY, blocks.start, scatter)
            assert torch.equal(found.cpu(), permute(x, g, KEY, blocks, scatter)), (n, scatter)
        kernels.multiply_signs_(here, KEY, blocks.start)
        assert torch.equal(here.cpu(), multiply_signs_(x, KEY, blocks)), n


def check_hashed(device: str) -> None:
    from subspace_bench.kernels.triton.hashed import adjoint, project

    for native, dim, count in ((1, 1, 1), (4096, 10, 1), (9001, 100, 2), (16_389, 3_000, 1)):
        p = make("hashed", native, dim, seed=3)
        assert isinstance(p, Hashed)
        omega, theta = gaussian(1, count, dim), gaussian(2, count, native)
        scale, rest = p._scale(omega), p.rest.to(device)
        found = project((omega * scale).to(device), native, p._key, p._bits, rest)
        assert torch.equal(found.cpu(), p(omega)), (native, dim)
        sums = adjoint(theta.to(device), dim, p._key, p._bits, rest).cpu()
        exact = p.transpose(theta.double())
        torch.testing.assert_close((sums * scale).double(), exact, rtol=1e-5, atol=1e-5)


def check_regenerated(device: str) -> None:
    from subspace_bench.kernels.triton.regenerated import adjoint, project

    sizes = ((1, 1, 1), (300, 7, 3), (150, 130, 1), (130, 2, 9))
    for name, (native, dim, count) in product(("regenerated", "regenerated-signs"), sizes):
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


CHECKS: dict[str, Check] = {
    "dense": check_dense,
    "hadamard": check_hadamard,
    "fastfood": check_fastfood,
    "hashed": check_hashed,
    "regenerated": check_regenerated,
}
