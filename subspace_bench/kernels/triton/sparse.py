"""Pω and Pᵀθ of `sparse` on CUDA, both without atomic additions: bits are the same each time.

The list of entries is sorted by row, so a program of Pω finds its rows in it by bisection, and no
pointers to rows are stored: they would take more memory than the entries. Pᵀθ reads a second list,
sorted by column. See projectors/sparse.py. Not timed on a device.
"""

import torch
import triton
import triton.language as tl

from . import on_device

_TILE = 256  # rows times lanes of a program of Pω, which is one warp
_MOST_LANES = 32  # of a row
_RUN = 1024  # entries of a column that a program of Pᵀθ reads at a time
_CHUNK = 1 << 18  # entries sorted by column at a time: about 25 MB


def project(
    omega: torch.Tensor, starts: torch.Tensor, entries: torch.Tensor, low: int, native: int,
    rows: int,
) -> torch.Tensor:  # fmt: skip
    """The signed sums of ω (n, d) of each row, (n, D), float32 or float64.

    Arguments:
        starts: of each block of rows in `entries`, (blocks + 1,) int64.
        entries: row within the block, column and sign, int32.
        low: bits of an entry that hold 2·column + sign.
        rows: of a block, a power of two.
    """
    theta, (count, dim) = omega.new_empty(len(omega), native), omega.shape
    lanes = min(_MOST_LANES, triton.next_power_of_2(max(1, len(entries) // (4 * native))))
    tile = _TILE // lanes
    with on_device(omega):
        _project[(triton.cdiv(native, tile) * count,)](
            omega, starts, entries, theta, native, dim, count, low, rows.bit_length() - 1,
            tile, lanes, num_warps=1,
        )  # fmt: skip
    return theta


def adjoint(theta: torch.Tensor, pointers: torch.Tensor, listed: torch.Tensor) -> torch.Tensor:
    """The signed sums of θ (n, D) over each column's entries, (n, d); see `by_column`."""
    dim, (count, native) = len(pointers) - 1, theta.shape
    omega = theta.new_empty(count, dim)
    run = min(_RUN, max(128, triton.next_power_of_2(len(listed) // dim)))
    with on_device(theta):
        _adjoint[(dim * count,)](theta, pointers, listed, omega, native, dim, count, run)
    return omega


def by_column(
    starts: torch.Tensor, entries: torch.Tensor, low: int, native: int, rows: int, dim: int,
    most: int = _CHUNK,
) -> tuple[torch.Tensor, torch.Tensor]:  # fmt: skip
    """The first entry of each column, (d + 1,) int64, and 2·row + sign of each entry, sorted by
    column, then by row; int32 if D ≤ 2^30.

    Sorts `most` entries at a time, as a sort of all would take some 90 bytes for each.
    """
    device, columns = entries.device, torch.arange(dim + 1, device=entries.device)
    chunks = entries.split(most)
    counts = torch.zeros(dim + 1, dtype=torch.int64, device=device)
    for chunk in chunks:
        column = (chunk & ((1 << low) - 1)) >> 1
        counts.index_add_(0, column + 1, torch.ones_like(column, dtype=torch.int64))
    pointers = counts.cumsum(0)
    listed = torch.empty_like(entries, dtype=torch.int32 if native <= 1 << 30 else torch.int64)
    free, begin = pointers[:-1].clone(), 0  # the next place of each column
    for chunk in chunks:
        column, order = ((chunk & ((1 << low) - 1)) >> 1).sort(stable=True)
        number = torch.arange(len(chunk), device=device)
        block = torch.searchsorted(starts, number + begin, right=True) - 1
        packed = (2 * (block * rows + (chunk >> low)) + (chunk & 1)).to(listed.dtype)
        first = torch.searchsorted(column, columns.to(column.dtype))
        place = (free - first[:-1])[column] + number
        listed[place] = packed[order]
        free += first.diff()
        begin += len(chunk)
    return pointers, listed


@triton.jit(do_not_specialize=["low"])
def _project(
    omega, starts, entries, theta, native, dim, count, low,
    HIGH: tl.constexpr, ROWS: tl.constexpr, LANES: tl.constexpr,
):  # fmt: skip
    vector = (tl.program_id(0) % count).to(tl.int64)
    i = (tl.program_id(0) // count).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    inside = i < native
    base = tl.load(starts + (i >> HIGH), mask=inside, other=0)
    length = (tl.load(starts + (i >> HIGH) + 1, mask=inside, other=0) - base).to(tl.int32)
    row = (i & ((1 << HIGH) - 1)).to(tl.int32)
    # Where the row's entries begin among those of its block.
    first, last = tl.zeros((ROWS,), tl.int32), length
    longest = tl.max(length, 0)
    width = longest
    while width > 0:
        middle = (first + last) >> 1
        entry = tl.load(entries + base + middle, mask=first < last, other=0)
        above = (first < last) & ((entry >> low) < row)
        last = tl.where(above, last, middle)
        first = tl.where(above, middle + 1, first)
        width = width >> 1
    at = first[:, None] + tl.arange(0, LANES)[None, :]
    total = tl.zeros((ROWS, LANES), theta.dtype.element_ty)
    more = longest
    while more > 0:
        inside_block = at < length[:, None]
        entry = tl.load(entries + base[:, None] + at, mask=inside_block, other=0)
        ours = inside_block & ((entry >> low) == row[:, None])
        column = (entry & ((1 << low) - 1)) >> 1
        weight = tl.load(omega + vector * dim + column, mask=ours, other=0.0)
        total += tl.where((entry & 1) != 0, -weight, weight)
        more = tl.max(tl.max(ours.to(tl.int32), 1), 0)
        at += LANES
    tl.store(theta + vector * native + i, tl.sum(total, 1), mask=inside)


@triton.jit
def _adjoint(theta, pointers, listed, omega, native, dim, count, RUN: tl.constexpr):
    column, vector = tl.program_id(0) // count, (tl.program_id(0) % count).to(tl.int64)
    begin, end = tl.load(pointers + column), tl.load(pointers + column + 1)
    total = tl.zeros((RUN,), theta.dtype.element_ty)
    for start in range(begin, end, RUN):
        at = start + tl.arange(0, RUN)
        entry = tl.load(listed + at, mask=at < end, other=0)
        slope = tl.load(theta + vector * native + (entry >> 1), mask=at < end, other=0.0)
        total += tl.where((entry & 1) != 0, -slope, slope)
    tl.store(omega + vector * dim + column, tl.sum(total, 0))
