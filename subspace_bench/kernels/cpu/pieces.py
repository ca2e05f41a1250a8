"""A vector in several pieces of memory, as gradients of parameters are, read without joining it.

Kernels get the addresses of the pieces, (rows, pieces) int64, and the positions in the vector where
each piece starts, with the length of the vector at the end: (pieces + 1,) int64.
"""

from collections.abc import Sequence

import numpy as np
from numba import types
from numba.extending import intrinsic
from torch import Tensor

from .simd import Address, in_vectors, jit, unpack

Pieces = tuple[np.ndarray, np.ndarray]


def locate(pieces: Sequence[Tensor]) -> Pieces:
    """Addresses and starts of contiguous float32 tensors that make up one vector.

    The caller must keep the tensors alive as long as a kernel runs.
    """
    addresses = np.array([[piece.data_ptr() for piece in pieces]], np.int64)
    return addresses, np.cumsum([0, *(piece.numel() for piece in pieces)], dtype=np.int64)


def rows_in_one_piece(rows: Tensor) -> Pieces:
    """Addresses and starts of the rows of a contiguous matrix, each in one piece."""
    count, size = rows.shape
    addresses = rows.data_ptr() + size * rows.itemsize * np.arange(count, dtype=np.int64)
    return addresses[:, None], np.array([0, size], np.int64)


@jit
def piece_of(starts, position, piece):
    """The number of the piece that has a position; the search begins at piece `piece`."""
    while starts[piece + 1] <= position:
        piece += 1
    return piece


@jit
def read_products(addresses, starts, row, first, piece, factors, out):
    """out[j] = factors[j] · element first + j of a row, for all factors; `piece` has `first`."""
    done, at = 0, piece
    while done < len(factors):
        begin = first + done
        stop = min(len(factors), done + starts[at + 1] - begin)
        multiply(addresses[row, at], begin - starts[at], factors, out, done, stop)
        done, at = stop, at + 1


@intrinsic
def multiply(typing, address, first, factors, out, start, stop):
    """out[j] = factors[j] · v[first + j − start], start ≤ j < stop, for v at an address."""

    def codegen(context, builder, signature, args):
        address, first, factors, out, start, stop = unpack(context, builder, signature, args, 0)
        values = Address(builder, address)
        first = builder.sub(first, start)

        def multiply_lanes(j, lanes):
            product = builder.fmul(factors.load(j, lanes=lanes), values.load(first, j, lanes=lanes))
            out.store(product, j)

        in_vectors(builder, start, stop, multiply_lanes)
        return context.get_dummy_value()

    return types.void(address, first, factors, out, start, stop), codegen
