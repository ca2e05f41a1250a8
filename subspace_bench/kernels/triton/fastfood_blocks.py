"""Whole blocks of Fastfood on CUDA, S H G Π H B in one launch, and the adjoint; see
projectors/fastfood.py.

A program holds a block of n ≤ 2^MOST_LEVELS numbers in registers: both transforms, the signs and
the permutation need no memory but G, S, ω and θ, 12 bytes a row. The adjoint has partial sums,
whose blocks are added in order, not atomically, so the bits are the same each time. Not timed on a
device.
"""

import torch
import triton
import triton.language as tl

from . import on_device
from .hadamard import level
from .permutations import permute_index, signs, unpermute_index

MOST_LEVELS = 14  # more numbers would need more registers and shared memory than a program has
_SUMS = 1 << 23  # numbers in partial sums of the adjoint, 32 MB: they fit the L2 cache


def project(
    omega: torch.Tensor, g: torch.Tensor, s: torch.Tensor, theta: torch.Tensor,
    key: tuple[int, int], first: int,
) -> None:  # fmt: skip
    """theta ← the rows of blocks `first`, `first` + 1, … of Pω.

    Arguments:
        omega: (rows, d), float32, contiguous.
        g: G, (blocks, n).
        s: S, (D,), D ≤ blocks · n.
        theta: (rows, D), whose rows are contiguous.
    """
    (blocks, size), (rows, dim) = g.shape, omega.shape
    with on_device(omega):
        _project[(blocks * rows,)](
            omega, g, s, theta, rows, dim, s.numel(), theta.stride(0), *key, first,
            _levels(size), num_warps=_warps(size), enable_fp_fusion=False,
        )  # fmt: skip


def adjoint(
    theta: torch.Tensor, g: torch.Tensor, s: torch.Tensor, sums: torch.Tensor,
    key: tuple[int, int], first: int,
) -> None:  # fmt: skip
    """Adds these blocks' Pᵀθ to `sums`, block i to number i mod parts; see `project`.

    Arguments:
        sums: (parts, rows, d), contiguous; as many parts as `parts` says.
    """
    (blocks, size), (most, rows, dim) = g.shape, sums.shape
    with on_device(theta):
        # A launch for `most` blocks: a loop over blocks within programs would spill registers.
        for done in range(0, blocks, most):
            _adjoint[(min(most, blocks - done) * rows,)](
                theta, g, s, sums, rows, dim, s.numel(), theta.stride(0), *key, first, done,
                _levels(size), num_warps=_warps(size), enable_fp_fusion=False,
            )  # fmt: skip


def parts(blocks: int, size: int, rows: int) -> int:
    """How many partial sums the adjoint of blocks of n numbers has for each of `rows` vectors."""
    return max(1, min(blocks, _SUMS // (size * rows)))


def _levels(size: int) -> int:
    return size.bit_length() - 1


def _warps(size: int) -> int:
    """Warps of a program: a thread has 16 numbers at most."""
    return min(32, max(4, size // 512))


_DRAWN = ["k0", "k1", "first", "done"]


@triton.jit(do_not_specialize=_DRAWN)
def _project(
    omega, g, s, theta, rows, dim, native, stride, k0, k1, first, LEVELS: tl.constexpr
):  # fmt: skip
    block, row = tl.program_id(0) // rows, (tl.program_id(0) % rows).to(tl.int64)
    size: tl.constexpr = 1 << LEVELS
    i, start = tl.arange(0, size), block.to(tl.int64) * size
    x = tl.load(omega + row * dim + i, mask=i < dim, other=0.0)
    x = _transform(_signed(x, signs(k0, k1, first + block, 0, size)), LEVELS)
    x = tl.gather(x, permute_index(i, k0, k1, first + block, LEVELS).to(tl.int32), 0)
    x = _transform(x * tl.load(g + start + i), LEVELS)
    inside = start + i < native
    x *= tl.load(s + start + i, mask=inside, other=0.0)
    tl.store(theta + row * stride + start + i, x, mask=inside)


@triton.jit(do_not_specialize=_DRAWN)
def _adjoint(
    theta, g, s, sums, rows, dim, native, stride, k0, k1, first, done, LEVELS: tl.constexpr
):  # fmt: skip
    part, row = tl.program_id(0) // rows, (tl.program_id(0) % rows).to(tl.int64)
    block = done + part
    size: tl.constexpr = 1 << LEVELS
    i, start = tl.arange(0, size), block.to(tl.int64) * size
    inside = start + i < native
    x = tl.load(theta + row * stride + start + i, mask=inside, other=0.0)
    x *= tl.load(s + start + i, mask=inside, other=0.0)
    x = _transform(x, LEVELS) * tl.load(g + start + i)
    x = tl.gather(x, unpermute_index(i, k0, k1, first + block, LEVELS).to(tl.int32), 0)
    x = _signed(_transform(x, LEVELS), signs(k0, k1, first + block, 0, size))
    at = sums + (part.to(tl.int64) * rows + row) * dim + i
    tl.store(at, x + tl.load(at, mask=i < dim, other=0.0), mask=i < dim)


@triton.jit
def _transform(x, LEVELS: tl.constexpr):
    for done in tl.static_range(LEVELS):
        x = level(x, 1 << done, 1 << LEVELS)
    return x


@triton.jit
def _signed(x, minus):
    return tl.where(minus != 0, -x, x)
