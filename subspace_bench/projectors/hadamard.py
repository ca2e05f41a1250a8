"""The Walsh-Hadamard transform of tensors, in place: x ← Hx, by which fast projections mix.

H_1 = 1, H_2n = [[H_n, H_n], [H_n, −H_n]] (Sylvester); HH = n·I. All implementations add the same
two numbers at the same level, so all give the same bits.
"""

from __future__ import annotations

from importlib.util import find_spec

import torch
from torch import Tensor

from subspace_bench.common.errors import UserError

_SHARED = 1 << 19  # fewer elements are done before other threads wake
_CHUNK = 1 << 9  # columns in a part of a pass


def hadamard_(x: Tensor) -> Tensor:
    """The unnormalised transform of the last dimension, in place; returns x. Not differentiable.

    float32 and float64 go through a numba kernel on the CPU, float32 through a Triton kernel on
    CUDA; everything else through plain PyTorch, level by level. Bits depend neither on which of
    them runs nor on the number of threads.
    Equivalent in SciPy: `x @ scipy.linalg.hadamard(n)`. Timed against fht-cpu in results/peers.md.

    Arguments:
        x: (…, n), n a power of two; contiguous, of a floating dtype.

    Raises:
        UserError: if n is not a power of two, the dtype is not floating, or x is not contiguous.
    """
    if not x.is_floating_point():
        raise UserError(f"a Hadamard transform is of a floating dtype, not {x.dtype}: convert it")
    size = x.shape[-1] if x.ndim else 0
    if size < 1 or size & (size - 1) or not x.is_contiguous():
        raise UserError(
            f"a Hadamard transform needs a contiguous tensor whose last dimension is a power of "
            f"two, not shape {tuple(x.shape)} with strides {x.stride()}: pad it or copy it"
        )
    if x.dtype in (torch.float32, torch.float64) and x.device.type == "cpu" and size >= 256:
        _vectors_(x)
    elif x.dtype == torch.float32 and x.is_cuda and find_spec("triton"):
        from subspace_bench.kernels.triton.hadamard import transform_

        transform_(x)
    else:
        levels_(x)
    return x


def levels_(x: Tensor) -> Tensor:
    """`hadamard_` in plain PyTorch, on any device and in any dtype, one level at a time.

    Matrix products with blocks of H would do several levels at once, but round differently, and
    with blocks of 16 to 64 rows were slower (16 to 19 ms, against 12 ms, at n = 2^20 in float64).
    """
    flat = x.view(-1)
    apart = 1
    while apart < x.shape[-1]:
        a, b = flat.view(-1, 2, apart).unbind(1)
        difference = a - b
        a += b
        b.copy_(difference)
        apart *= 2
    return x


def _vectors_(x: Tensor) -> None:
    """The numba kernel on torch's threads: whole rows; or if these are too few to share, pieces of
    rows and then the passes that join them.
    """
    from subspace_bench.kernels.cpu.hadamard import RADIX, join_chunks, transform_rows
    from subspace_bench.kernels.cpu.threads import in_threads

    flat = x.view(-1).numpy()
    levels = x.shape[-1].bit_length() - 1
    rows = pieces = len(flat) >> levels
    threads = torch.get_num_threads() if len(flat) >= _SHARED else 1
    if threads == 1:
        transform_rows(flat, levels, 0, rows)
        return
    piece = levels
    while pieces % threads and pieces < 4 * threads and piece >= 9 + RADIX:
        piece -= RADIX
        pieces = rows << (levels - piece)
    in_threads(transform_rows, flat, piece, parts=pieces)
    while piece < levels:
        in_threads(join_chunks, flat, piece, RADIX, _CHUNK, parts=len(flat) // _CHUNK >> RADIX)
        piece += RADIX
