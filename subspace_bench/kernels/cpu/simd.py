"""Vectors of 16 float32 for numba kernels, as intrinsics that emit LLVM IR.

numba can't keep an array of sums in registers; these functions can. Arrays are one-dimensional and
contiguous; offsets and strides count elements; nothing is checked. LLVM lowers the 16 lanes to what
the machine has (AVX-512, AVX2, NEON). Arguments in capitals are compile-time constants, and last.
"""

import zlib
from pathlib import Path

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
I32, I64, F32, F64 = ir.IntType(32), ir.IntType(64), ir.FloatType(), ir.DoubleType()
INTS, FLOATS = ir.VectorType(I32, LANES), ir.VectorType(F32, LANES)
ZERO = ir.Constant(FLOATS, None)


def fingerprint(*files: str) -> int:
    """A number that changes with the text of these files (and of this one)."""
    return zlib.crc32(b"".join(Path(file).read_bytes() for file in (__file__, *files)))


MARK = fingerprint(*map(str, sorted(Path(__file__).parent.glob("*.py"))))


def jit(function):
    """`numba.njit` that releases the GIL and caches its machine code between processes.

    numba's cache looks only at the file that a function stands in, and takes old machine code where
    what it calls, in another file, has changed. So functions are cached under names that change
    with the text of every kernel.
    """
    function.__qualname__ += f"_{MARK:08x}"
    return njit(cache=True, nogil=True, error_model="numpy")(function)


class Array:
    """One array argument: the address of an element, and vectors that start there."""

    def __init__(self, context, builder, kind, value):
        self.builder = builder
        self.data = context.make_array(kind)(context, builder, value).data
        self.element = context.get_data_type(kind.dtype)
        self.bytes = kind.dtype.bitwidth // 8

    def at(self, *offsets):
        pointer = self.data
        for offset in offsets:
            offset = offset if isinstance(offset, ir.Value) else index(offset)
            pointer = self.builder.gep(pointer, [offset])
        return pointer

    def scalar(self, *offsets):
        return self.builder.load(self.at(*offsets))

    def load(self, *offsets, lanes=LANES):
        kind = ir.VectorType(self.element, lanes).as_pointer()
        return self.builder.load(self.builder.bitcast(self.at(*offsets), kind), align=self.bytes)

    def masked_load(self, mask, *offsets):
        """Zero, and no access, where the mask is false."""
        kind = ir.VectorType(self.element, LANES)
        pointer = self.builder.bitcast(self.at(*offsets), kind.as_pointer())
        name = f"llvm.masked.load.{_suffix(kind)}.p0"
        zero = ir.Constant(kind, None)
        return call(self.builder, name, kind, pointer, I32(self.bytes), mask, zero)

    def store(self, vector, *offsets):
        pointer = self.builder.bitcast(self.at(*offsets), vector.type.as_pointer())
        self.builder.store(vector, pointer, align=self.bytes)


def unpack(context, builder, signature, args, constants):
    """Arguments as Array, 64-bit integers and scalars; the last `constants` as Python values."""
    first_constant = len(args) - constants
    for i, (kind, value) in enumerate(zip(signature.args, args, strict=True)):
        if i >= first_constant:
            yield kind.literal_value
        elif isinstance(kind, types.Literal):
            yield index(kind.literal_value)
        elif isinstance(kind, types.Array):
            yield Array(context, builder, kind, value)
        elif isinstance(kind, types.Integer):
            yield context.cast(builder, value, kind, types.int64)
        else:
            yield value


def call(builder, name, result, *args):
    kind = ir.FunctionType(result, [arg.type for arg in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)


def _suffix(kind):
    floats = {F32: "f32", F64: "f64"}
    return f"v{kind.count}{floats.get(kind.element) or f'i{kind.element.width}'}"


def index(value):
    return ir.Constant(I64, value)


def ints(value):
    return ir.Constant(INTS, [value] * LANES)


def splat(builder, scalar, lanes=LANES):
    kind = ir.VectorType(scalar.type, lanes)
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, scalar, I32(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(I32, lanes), None))


def fma(builder, a, b, c):
    return call(builder, f"llvm.fma.{_suffix(a.type)}", a.type, a, b, c)


def compress(builder, vector, mask):
    """The lanes where the mask is true, moved to the front; then zeros."""
    name = f"llvm.experimental.vector.compress.{_suffix(vector.type)}"
    return call(builder, name, vector.type, vector, mask, ir.Constant(vector.type, None))


def prefetch(builder, pointer):
    """Into the second-level cache: called for far ahead, the first would lose it before its use."""
    call(builder, "llvm.prefetch.p0", ir.VoidType(), pointer, I32(0), I32(2), I32(1))


@jit
def aligned(size):
    """Uninitialised float32 scratch that starts on a cache line."""
    buffer = np.empty(size + LANES, np.float32)
    start = (-(buffer.ctypes.data // 4)) % LANES
    return buffer[start : start + size]


@intrinsic(prefer_literal=True)
def transpose16(typing, src, s0, s_stride, s_rows, dst, d0, d_stride, d_rows):
    """dst[j, i] = src[i, j] for a tile of 16 x 16, float32 or uint8.

    Rows of src from s_rows on are read as its last row; rows of dst from d_rows on aren't stored.
    They are stored in order: with d_stride < 16, each overwrites what the one before had too much.
    """

    def codegen(context, builder, signature, args):
        src, s0, s_stride, s_rows, dst, d0, d_stride, d_rows = unpack(
            context, builder, signature, args, 0
        )
        last = builder.sub(s_rows, index(1))
        rows = []
        for i in range(LANES):
            inside = builder.icmp_signed("<", index(i), s_rows)
            row = builder.select(inside, index(i), last)
            rows.append(src.load(s0, builder.mul(row, s_stride)))
        # Four perfect shuffles, each of lower halves (row 2i) and of upper halves (row 2i + 1).
        low = [i // 2 + LANES * (i % 2) for i in range(LANES)]
        masks = [ir.Constant(INTS, low), ir.Constant(INTS, [lane + 8 for lane in low])]
        for _ in range(4):
            rows = [
                builder.shuffle_vector(rows[i // 2], rows[i // 2 + 8], masks[i % 2])
                for i in range(LANES)
            ]
        for i in range(LANES):
            with builder.if_then(builder.icmp_signed("<", index(i), d_rows), likely=True):
                dst.store(rows[i], d0, builder.mul(index(i), d_stride))
        return context.get_dummy_value()

    return types.void(src, s0, s_stride, s_rows, dst, d0, d_stride, d_rows), codegen
