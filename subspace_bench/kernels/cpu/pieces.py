"""A vector in several pieces, as θ and its gradient are: one factor for each, and their addresses.

Kernels read pieces where they lie, without joining them, and multiply each by its factor.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numba import types
from numba.extending import intrinsic
from torch import Tensor

from .simd import Address, in_vectors, jit, splat, unpack


class Factors(NamedTuple):
    """One factor for each piece of a vector.

    Attributes:
        starts: where each piece starts, and the length of the vector, (pieces + 1,) int64.
        values: (pieces,) float32.
    """

    starts: np.ndarray
    values: np.ndarray

    @classmethod
    def of(cls, sizes: Sequence[int], values: Sequence[float] | None = None) -> "Factors":
        """The factors of pieces of these sizes; by default 1, which leaves all bits alone."""
        values = [1.0] * len(sizes) if values is None else values
        return cls(np.cumsum([0, *sizes], dtype=np.int64), np.array(values, np.float32))


class Pieces(NamedTuple):
    """Addresses of the pieces of each row, (rows, pieces) int64, and what `Factors` has."""

    addresses: np.ndarray
    starts: np.ndarray
    factors: np.ndarray


def locate(pieces: Sequence[Tensor], factors: Factors | None = None) -> Pieces:
    """Contiguous float32 tensors that make up one vector, with factors of these pieces.

    The caller must keep the tensors alive as long as a kernel runs.
    """
    addresses = np.array([[piece.data_ptr() for piece in pieces]], np.int64)
    return Pieces(addresses, *(factors or Factors.of([piece.numel() for piece in pieces])))


def rows_in_one_piece(rows: Tensor) -> Pieces:
    """The rows of a contiguous matrix, each in one piece."""
    count, size = rows.shape
    addresses = rows.data_ptr() + size * rows.itemsize * np.arange(count, dtype=np.int64)
    return Pieces(addresses[:, None], *Factors.of([size]))


@jit
def piece_of(starts, position, piece):
    """The number of the piece that has a position; the search begins at piece `piece`."""
    while starts[piece + 1] <= position:
        piece += 1
    return piece


@jit
def read_products(addresses, starts, factors, row, first, piece, scales, out):
    """out[j] = scales[j] · (f · v[first + j]) for all scales, where f is the factor of a piece.

    v is a row; `piece` has element `first`.
    """
    done, at = 0, piece
    while done < len(scales):
        begin = first + done
        stop = min(len(scales), done + starts[at + 1] - begin)
        multiply(addresses[row, at], begin - starts[at], factors[at], scales, out, done, stop)
        done, at = stop, at + 1


@intrinsic
def multiply(typing, address, first, factor, scales, out, start, stop):
    """out[j] = scales[j] · (factor · v[first + j − start]), start ≤ j < stop, v at an address."""

    def codegen(context, builder, signature, args):
        address, first, factor, scales, out, start, stop = unpack(
            context, builder, signature, args, 0
        )
        values = Address(builder, address)
        first = builder.sub(first, start)

        def multiply_lanes(j, lanes):
            value = builder.fmul(splat(builder, factor, lanes), values.load(first, j, lanes=lanes))
            out.store(builder.fmul(scales.load(j, lanes=lanes), value), j)

        in_vectors(builder, start, stop, multiply_lanes)
        return context.get_dummy_value()

    return types.void(address, first, factor, scales, out, start, stop), codegen
