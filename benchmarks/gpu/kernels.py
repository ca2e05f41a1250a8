"""The Triton kernels on the device: each checked against plain PyTorch, then timed at a large size.

A timed kernel says the bytes that it must move, or the entries of P that it computes, so that the
page can hold its time to what the device's bandwidth allows.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from benchmarks.gpu.kernel_checks import ADAM, CHECKS, KEY, Check
from benchmarks.gpu.stages import Item, Setting, Values
from subspace_bench.profiling.stopwatch import Stopwatch, quartiles
from subspace_bench.projectors import make
from subspace_bench.projectors.sparse import Sparse

SAMPLES = 9
NATIVE, DIM = 21_840, 10_000  # of the post's conv net
DRY_NATIVE, DRY_DIM = 300, 8
# Larger tiles of the transform, in fewer passes: (tile, run, warps).
SHAPES = ((13, 5, 16), (14, 5, 32), (14, 4, 32))


@dataclass(frozen=True)
class Timed:
    """A call to time.

    Attributes:
        moved: bytes that it reads and writes at least.
        entries: of P that it computes; 0 where P is stored.
        limit: the ceiling that it is held to.
        target: the fraction of that ceiling to reach; 0 for none.
    """

    call: Callable[[], Any]
    moved: int
    entries: int = 0
    limit: str = "copy"
    target: float = 0.0


def items(setting: Setting) -> list[Item]:
    """Checks first, as only right kernels are worth timing."""
    checks = [Item(f"check {name}", partial(run_check, check, setting.device))
              for name, check in CHECKS.items()]  # fmt: skip
    timed = [Item(name, partial(measure, make, setting)) for name, make in TIMED.items()]
    return checks + timed


def run_check(check: Check, device: str) -> Values:
    """Seconds of the check, nearly all of them for compiling."""
    start = time.perf_counter()
    check(device)
    return {"compile_s": time.perf_counter() - start}


def measure(make: Callable[[Setting], Timed], setting: Setting) -> Values:
    """Milliseconds of one call on the device, its GB/s, and its entries per second."""
    timed, stopwatch = make(setting), Stopwatch(setting.device)
    count = 1 if setting.dry else SAMPLES
    for _ in range(1 if setting.dry else 3):
        timed.call()
    times = quartiles("device", [stopwatch.device_seconds(timed.call) for _ in range(count)])
    return {
        **times,
        "moved_bytes": timed.moved,
        "ceiling": timed.limit,
        "target": timed.target,
        "gbs": timed.moved / times["device_ms"] / 1e6,
        **({"entries_per_s": timed.entries / times["device_ms"] * 1e3} if timed.entries else {}),
    }


def hadamard(setting: Setting, levels: int, shape: tuple[int, int, int] | None = None) -> Timed:
    """A transform of 2^levels numbers, in as many passes over memory as it takes.

    Arguments:
        shape: (tile, run, warps) to try instead of the kernel's own.
    """
    from subspace_bench.kernels.triton.hadamard import RUN, TILE, WARPS, transform_

    tile, run, warps = shape or (TILE, RUN, WARPS)
    levels = 9 if setting.dry else levels
    rows = 1 if setting.dry else (1 << 27) >> levels  # 512 MB, far beyond the L2 cache
    x = torch.zeros(rows, 1 << levels, device=setting.device)
    passes = 1 + -(-max(0, levels - tile) // (tile - run))
    return Timed(lambda: transform_(x, tile, run, warps), moved=8 * x.numel() * passes, target=0.8)


def permutation(setting: Setting, scatter: bool) -> Timed:
    """Fastfood's ΠG of blocks of 2^14, or its adjoint."""
    from subspace_bench.kernels.triton.fastfood import permute

    blocks = 1 if setting.dry else 1 << 12
    x = torch.zeros(1, blocks, 1 << (8 if setting.dry else 14), device=setting.device)
    factors = torch.zeros_like(x[0])
    return Timed(lambda: permute(x, factors, KEY, 0, scatter), moved=12 * x.numel())


def signs(setting: Setting) -> Timed:
    """Fastfood's B of blocks of 2^14."""
    from subspace_bench.kernels.triton.fastfood import multiply_signs_

    blocks = 1 if setting.dry else 1 << 12
    x = torch.zeros(1, blocks, 1 << (8 if setting.dry else 14), device=setting.device)
    return Timed(lambda: multiply_signs_(x, KEY, 0), moved=8 * x.numel())


def fastfood(setting: Setting, levels: int, adjoint: bool) -> Timed:
    """One product with 2^26 rows, in blocks of 2^levels: θ, G and S are 256 MB each."""
    from subspace_bench.kernels.triton import fastfood_blocks as kernels

    levels, blocks = (8, 2) if setting.dry else (levels, 1 << (26 - levels))
    size, device = 1 << levels, setting.device
    g = torch.zeros(blocks, size, device=device)
    s, theta = (torch.zeros(*rows, blocks * size, device=device) for rows in ((), (1,)))
    omega = torch.zeros(1, size, device=device)
    parts = kernels.parts(blocks, size, 1)

    def transposed() -> None:
        sums = torch.zeros(parts, 1, size, device=device)
        kernels.adjoint(theta, g, s, sums, KEY, 0)
        sums.sum(0)

    calls = {False: lambda: kernels.project(omega, g, s, theta, KEY, 0), True: transposed}
    return Timed(calls[adjoint], moved=12 * s.numel(), target=0.5)


def srht(setting: Setting, back: bool | None) -> Timed:
    """The SRHT's fold of 2^26 + 2^25 numbers or, with None, the signs of 2^26."""
    from subspace_bench.kernels.triton import srht as kernels

    size = 1 << (8 if setting.dry else 26)
    rows = torch.zeros(1, size + size // 2, device=setting.device)
    if back is None:
        return Timed(lambda: kernels.multiply_signs_(rows, size, KEY, 2, 1.0), 8 * size, target=0.8)
    return Timed(lambda: kernels.fold_(rows, size, KEY, 1.0, back), 8 * rows.numel(), target=0.8)


def sparse(setting: Setting, adjoint: bool) -> Timed:
    """One product with 2^20 rows and 10,000 columns, of 1,024 entries each."""
    from subspace_bench.kernels.triton import sparse as kernels

    native, dim = (DRY_NATIVE, DRY_DIM) if setting.dry else (1 << 20, DIM)
    p = make("sparse", native, dim, seed=0).to(setting.device)
    assert isinstance(p, Sparse)
    shape, vector = (p._low, native, p._rows), torch.zeros(1, native, device=setting.device)
    omega, listed = (
        vector[:, :dim].contiguous(),
        kernels.by_column(p.starts, p.entries, *shape, dim),
    )
    calls = {
        False: lambda: kernels.project(omega, p.starts, p.entries, *shape),
        True: lambda: kernels.adjoint(vector, *listed),
    }
    return Timed(calls[adjoint], moved=p.entries.nbytes + 4 * (native + dim), limit="read")


def hashed(setting: Setting, dim: int, adjoint: bool) -> Timed:
    """One product with 2^27 rows, θ of 512 MB."""
    from subspace_bench.kernels.triton import hashed as kernels

    native, dim = (DRY_NATIVE, DRY_DIM) if setting.dry else (1 << 27, dim)
    bits = max(12, (2 * dim - 1).bit_length())
    rest = torch.zeros(0, dtype=torch.int32, device=setting.device)
    native = native >> bits << bits or 1 << bits
    vector = torch.zeros(1, native if adjoint else dim, device=setting.device)
    calls = {
        False: lambda: kernels.project(vector, native, KEY, bits, rest),
        True: lambda: kernels.adjoint(vector, dim, KEY, bits, rest),
    }
    limit = "read" if adjoint else "write"
    return Timed(calls[adjoint], moved=4 * (native + dim), limit=limit, target=0.7)


def dense(setting: Setting, adjoint: bool) -> Timed:
    """One product with P in bfloat16."""
    from subspace_bench.kernels.triton import dense as kernels

    native, dim = (DRY_NATIVE, DRY_DIM) if setting.dry else (NATIVE, DIM)
    columns = torch.zeros(dim, native, dtype=torch.int16, device=setting.device)
    vector = torch.zeros(1, native if adjoint else dim, device=setting.device)
    act = kernels.adjoint if adjoint else kernels.project
    moved = columns.nbytes + 4 * (native + dim)
    return Timed(lambda: act(columns, vector), moved, limit="read", target=0.85)


def adam(setting: Setting, warps: int) -> Timed:
    """A step of Adam on ω and Pω with P in float32, read once."""
    from subspace_bench.kernels.triton.projected_adam import step

    native, dim = (DRY_NATIVE, DRY_DIM) if setting.dry else (NATIVE, DIM)
    columns = torch.zeros(1, dim, native, device=setting.device)
    gradient = torch.zeros(1, native, device=setting.device)
    omega, m, v = (torch.zeros(1, dim, device=setting.device) for _ in range(3))
    rates = torch.ones(2, device=setting.device)
    fixed: dict[str, Any] = {"beta1": 0.9, "beta2": 0.999, "eps": 1e-8, "warps": warps}
    return Timed(
        lambda: step(columns, gradient, omega, m, v, rates, **fixed),
        moved=columns.nbytes + 4 * (2 * native + 6 * dim),
        limit="read",
        target=0.85,
    )


def adam_two_reads(setting: Setting) -> Timed:
    """The same by two products of cuBLAS, which read P twice."""
    from subspace_bench.kernels.cpu.projected_adam import step_eager

    native, dim = (DRY_NATIVE, DRY_DIM) if setting.dry else (NATIVE, DIM)
    columns = torch.zeros(dim, native, device=setting.device)
    gradient, origin, theta = (torch.zeros(native, device=setting.device) for _ in range(3))
    omega, m, v = (torch.zeros(dim, device=setting.device) for _ in range(3))
    return Timed(
        lambda: step_eager(columns, gradient, omega, m, v, origin, theta, **ADAM, t=1),
        moved=2 * columns.nbytes + 4 * (3 * native + 6 * dim),
        limit="read",
    )


def regenerated(setting: Setting, kind: int, adjoint: bool) -> Timed:
    """One product with entries of P computed in registers."""
    from subspace_bench.kernels.triton import regenerated as kernels

    native, dim = (DRY_NATIVE, DRY_DIM) if setting.dry else (NATIVE, DIM)
    omega, theta = (torch.zeros(1, size, device=setting.device) for size in (dim, native))
    calls = {
        False: lambda: kernels.project(omega, theta, KEY, kind),
        True: lambda: kernels.adjoint(theta, omega, KEY, kind),
    }
    return Timed(calls[adjoint], moved=4 * (native + dim), entries=native * dim)


TIMED: dict[str, Callable[[Setting], Timed]] = {
    **{f"Hadamard 2^{levels}": partial(hadamard, levels=levels) for levels in (12, 15, 20, 24, 27)},
    **{
        f"Hadamard 2^{levels}, tile 2^{shape[0]}, run 2^{shape[1]}": partial(
            hadamard, levels=levels, shape=shape
        )
        for levels in (15, 24)
        for shape in SHAPES
    },
    "Adam, one read of P": partial(adam, warps=32),
    "Adam, one read of P, 16 warps": partial(adam, warps=16),
    "Adam, two products": adam_two_reads,
    "Fastfood permutation": partial(permutation, scatter=False),
    "Fastfood adjoint permutation": partial(permutation, scatter=True),
    "Fastfood signs": signs,
    **{
        f"Fastfood {'Pᵀθ' if adjoint else 'Pω'}, n = 2^{levels}": partial(
            fastfood, levels=levels, adjoint=adjoint
        )
        for levels in (10, 14)
        for adjoint in (False, True)
    },
    "SRHT fold": partial(srht, back=False),
    "SRHT adjoint fold": partial(srht, back=True),
    "SRHT signs": partial(srht, back=None),
    "sparse Pω": partial(sparse, adjoint=False),
    "sparse Pᵀθ": partial(sparse, adjoint=True),
    **{
        f"hashed {'Pᵀθ' if adjoint else 'Pω'}, d = {dim:,}": partial(
            hashed, dim=dim, adjoint=adjoint
        )
        for dim in (1_000, 100_000)
        for adjoint in (False, True)
    },
    "dense bf16 Pω": partial(dense, adjoint=False),
    "dense bf16 Pᵀθ": partial(dense, adjoint=True),
    **{
        f"regenerated {what} {'Pᵀθ' if adjoint else 'Pω'}": partial(
            regenerated, kind=kind, adjoint=adjoint
        )
        for kind, what in enumerate(("normals", "signs"))
        for adjoint in (False, True)
    },
}
