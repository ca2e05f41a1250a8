"""The Walsh-Hadamard transform of tensors, in place: x ← Hx, the mixing step of fast projections.

H_1 = 1, H_2n = [[H_n, H_n], [H_n, −H_n]] (Sylvester); HH = n·I. All implementations add the same
two numbers at the same level, so they agree bit for bit.
"""

from __future__ import annotations

import torch
from torch import Tensor

from subspace_bench.common.errors import UserError
from subspace_bench.kernels.cpu.hadamard import RADIX, join_chunks, transform_rows
from subspace_bench.kernels.cpu.threads import in_threads
from subspace_bench.kernels.triton import availability

_SHARED = 1 << 19  # with fewer elements, one thread finishes before others wake
_CHUNK = 1 << 9  # columns in a part of a pass


def hadamard_(x: Tensor) -> Tensor:
    """The unnormalised transform of the last dimension, in place; returns x. Not differentiable.

    A numba kernel handles float32 and float64 on the CPU, a Triton kernel handles float32 on CUDA,
    and plain PyTorch the rest. Bits depend neither on the implementation nor on the threads.
    Equivalent in SciPy: `x @ scipy.linalg.hadamard(n)`. Timed against fht-cpu in results/peers.md.

    Arguments:
        x: (…, n), n a power of two; contiguous, of a floating dtype.

    Raises:
        UserError: if n is not a power of two, the dtype is not floating, or x is not contiguous.
    """
    if not x.is_floating_point():
        raise UserError(f"a Hadamard transform needs a floating dtype, not {x.dtype}: convert it")
    size = x.shape[-1] if x.ndim else 0
    if size < 1 or size & (size - 1) or not x.is_contiguous():
        raise UserError(
            f"a Hadamard transform needs a contiguous tensor whose last dimension is a power of "
            f"two, not shape {tuple(x.shape)} with strides {x.stride()}: pad it or copy it"
        )
    if x.dtype in (torch.float32, torch.float64) and x.device.type == "cpu" and size >= 256:
        _transform_in_kernel_(x)
    elif x.dtype == torch.float32 and x.is_cuda and availability.works():
        from subspace_bench.kernels.triton.hadamard import transform_

        transform_(x)
    else:
        levels_(x)
    return x


def levels_(x: Tensor) -> Tensor:
    """`hadamard_` in plain PyTorch, on any device and in any dtype, one level at a time.

    Matrix products with blocks of H would do several levels at once, but they round differently.
    With blocks of 16 to 64 rows they were also slower: 16 to 19 ms instead of 12 ms at n = 2^20 in
    float64.
    """
    flat = x.view(-1)
    distance = 1
    while distance < x.shape[-1]:
        a, b = flat.view(-1, 2, distance).unbind(1)
        difference = a - b
        a += b
        b.copy_(difference)
        distance *= 2
    return x


def _transform_in_kernel_(x: Tensor) -> None:
    """Runs the numba kernel on torch's threads.

    Threads share whole rows. If these are too few, they share pieces of rows and the passes that
    join the pieces.
    """
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
