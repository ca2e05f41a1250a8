"""The unnormalised Walsh-Hadamard transform on CUDA: up to 12 levels a pass over memory.

H_2n = [[H_n, H_n], [H_n, −H_n]]. A program holds 2^12 numbers: in the first pass neighbours (levels
0 to 11), in each further one 2^7 runs of 32 neighbours, a power of two apart. It does the same
additions in the same order as the CPU, so the bits are the same.
"""

import torch
import triton
import triton.language as tl

from . import on_device

TILE = 12  # log2 of the numbers that a program holds
RUN = 5  # log2 of neighbours read together: 128 bytes
WARPS = 8


def transform_(x: torch.Tensor, tile: int = TILE, run: int = RUN, warps: int = WARPS) -> None:
    """Transforms the last dimension of x (…, 2^k), contiguous, in place.

    Larger tiles need fewer passes, more registers and threads; the bits are the same.
    """
    size, levels = x.numel(), x.shape[-1].bit_length() - 1
    if not size:
        return
    done = min(levels, tile)
    with on_device(x):
        _pass[(triton.cdiv(size, 1 << tile),)](x, size, 0, 0, done, tile, num_warps=warps)
        while done < levels:
            step = min(tile - run, levels - done)
            wide = min(tile - step, done)  # the last pass, of few levels, reads longer runs
            _pass[(size >> (step + wide),)](x, size, done, wide, step, step + wide, num_warps=warps)
            done += step


@triton.jit
def _pass(x, size, DONE: tl.constexpr, RUN: tl.constexpr, LEVELS: tl.constexpr, TILE: tl.constexpr):
    """Levels DONE … DONE + LEVELS − 1; a tile is runs of 2^RUN numbers that lie 2^DONE apart."""
    tile = tl.program_id(0).to(tl.int64)
    place = tl.arange(0, 1 << TILE)
    if DONE == 0:
        at = (tile << TILE) + place
    else:
        runs: tl.constexpr = DONE - RUN  # log2 of the runs side by side
        start = ((tile >> runs) << (DONE + LEVELS)) + ((tile & ((1 << runs) - 1)) << RUN)
        at = start + ((place >> RUN).to(tl.int64) << DONE) + (place & ((1 << RUN) - 1))
    value = tl.load(x + at, mask=at < size, other=0.0)
    for done in tl.static_range(LEVELS):
        value = level(value, 1 << (RUN + done), 1 << TILE)
    tl.store(x + at, value, mask=at < size)


@triton.jit
def level(value, APART: tl.constexpr, SIZE: tl.constexpr):
    """One level: sums and differences of numbers that lie APART, among SIZE."""
    pairs = tl.reshape(value, (SIZE // (2 * APART), 2, APART))
    low, high = tl.split(tl.permute(pairs, (0, 2, 1)))
    pairs = tl.permute(tl.join(low + high, low - high), (0, 2, 1))
    return tl.reshape(pairs, (SIZE,))
