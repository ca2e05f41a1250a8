"""Vectors of 16 float32 in numba: helpers that write LLVM IR, for intrinsics to be built from.

numba keeps an array of running sums in memory and reloads it at each step; code that names vector
values itself keeps them in registers. (Sums that a loop updates are written as stack slots,
`alloca_once_value`, with a load and a store per turn; LLVM promotes these to registers.) LLVM maps
the 16 lanes onto what the machine has: one AVX-512 register, two of AVX2, four of NEON.

Conventions of all intrinsics here: arrays are one-dimensional and contiguous; offsets and strides
count elements; no bounds are checked; arguments in capitals are compile-time constants and come
last, so that loops over them unroll.
"""

import zlib
from pathlib import Path

import numpy as np
from llvmlite import binding, ir
from numba import config, njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from .kernel_cache import enable_cache

LANES = 16
I32, I64, F32, F64 = ir.IntType(32), ir.IntType(64), ir.FloatType(), ir.DoubleType()
INTS, FLOATS = ir.VectorType(I32, LANES), ir.VectorType(F32, LANES)
ZERO = ir.Constant(FLOATS, None)


# Whether one instruction that loads 16 numbers from 16 places is faster than 16 loads. On AMD's
# processors it is not.
_GATHERS = bool(binding.get_host_cpu_features().get("avx512f")) and not (
    binding.get_host_cpu_name().startswith("znver")
)

# A checksum of the source of all kernels.
FINGERPRINT = zlib.crc32(
    b"".join(file.read_bytes() for file in sorted(Path(__file__).parent.glob("*.py")))
)


def jit(function):
    """`numba.njit` that releases the GIL and caches machine code on disk between processes.

    numba invalidates a cached function when its own file changes, but not when a function or an
    intrinsic that it calls from another file does. So each function is cached under a name that
    ends in a checksum of all kernels: a change in any of them compiles all of them anew.

    error_model "numpy": division by zero gives inf or nan, which spares a branch per division.

    Kernels are compiled with NUMBA_DISABLE_JIT as well: LLVM intrinsics have no form in Python, and
    the variable is set to trace or debug other functions.
    """
    function.__qualname__ += f"_{FINGERPRINT:08x}"
    disabled, config.DISABLE_JIT = config.DISABLE_JIT, 0
    try:
        dispatcher = njit(nogil=True, error_model="numpy")(function)
    finally:
        config.DISABLE_JIT = disabled
    enable_cache(dispatcher)
    return dispatcher


class Array:
    """One array argument inside an intrinsic.

    Offsets may be LLVM values or Python integers, and are added up: `x.load(row, 16)` loads 16
    elements from x[row + 16] on. Loads and stores assume the alignment of an element only.
    """

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
        """A load of the lanes where the mask is true; the others are 0 and are not accessed."""
        kind = ir.VectorType(self.element, LANES)
        pointer = self.builder.bitcast(self.at(*offsets), kind.as_pointer())
        name = f"llvm.masked.load.{_suffix(kind)}.p0"
        zero = ir.Constant(kind, None)
        return call(self.builder, name, kind, pointer, I32(self.bytes), mask, zero)

    def store(self, vector, *offsets):
        pointer = self.builder.bitcast(self.at(*offsets), vector.type.as_pointer())
        self.builder.store(vector, pointer, align=self.bytes)

    def look_up(self, places, at, lanes=LANES):
        """x[places[at + lane]] in each lane, for an array of places below 2^31."""
        kind = ir.VectorType(self.element, lanes)
        if lanes == LANES and _GATHERS:
            pointers = _Pointers(self.builder, self.data, self.builder.zext(places.load(at), INTS))
            name = f"llvm.masked.gather.{_suffix(kind)}.v{lanes}p0"
            everywhere = ir.Constant(ir.VectorType(ir.IntType(1), lanes), [1] * lanes)
            rest = pointers, I32(self.bytes), everywhere, ir.Constant(kind, None)
            return call(self.builder, name, kind, *rest)
        # Loading places from memory one by one is cheaper than extracting them from a vector.
        found = [self.scalar(self.builder.zext(places.scalar(at, i), I64)) for i in range(lanes)]
        vector = ir.Constant(kind, ir.Undefined)
        for lane, value in enumerate(found):
            vector = self.builder.insert_element(vector, value, I32(lane))
        return vector


class _Pointers(ir.instructions.Instruction):
    """A vector of pointers into an array, which llvmlite's own getelementptr cannot make."""

    def __init__(self, builder, base, indices):
        kind = ir.VectorType(base.type, indices.type.count)
        super().__init__(builder.block, kind, "getelementptr", [base, indices])
        builder._insert(self)

    def descr(self, buf):
        base, indices = self.operands
        buf.append(
            f"getelementptr {base.type.pointee}, {base.type} {base.get_reference()}, "
            f"{indices.type} {indices.get_reference()}\n"
        )


class Address(Array):
    """float32 numbers at an address that is a 64-bit integer, used like an `Array`."""

    def __init__(self, builder, address):
        self.builder, self.element, self.bytes = builder, F32, 4
        self.data = builder.inttoptr(address, ir.PointerType(F32))


def in_vectors(builder, start, stop, body):
    """Calls body(j, lanes) for vectors of 16 from `start` on, then one by one up to `stop`."""
    whole = builder.sub(stop, builder.and_(builder.sub(stop, start), index(LANES - 1)))
    for begin, end, lanes in ((start, whole, LANES), (whole, stop, 1)):
        with cgutils.for_range_slice(builder, begin, end, index(lanes), inc=True) as (j, _):
            body(j, lanes)


def unpack(context, builder, signature, args, constants):
    """Yields an intrinsic's arguments: arrays as `Array`, integers as 64-bit LLVM values.

    The last `constants` of them come as Python values; other scalars come as they are.
    """
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
    """Calls the LLVM intrinsic `name`, declared on first use."""
    kind = ir.FunctionType(result, [arg.type for arg in args])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, name), args)


def _suffix(kind):
    """How LLVM spells a vector type in names of intrinsics: "v16f32"."""
    floats = {F32: "f32", F64: "f64"}
    return f"v{kind.count}{floats.get(kind.element) or f'i{kind.element.width}'}"


def index(value):
    """A Python integer as a 64-bit constant."""
    return ir.Constant(I64, value)


def ints(value):
    """A Python integer in all 16 lanes of 32 bits."""
    return ir.Constant(INTS, [value] * LANES)


def splat(builder, scalar, lanes=LANES):
    """A scalar in every lane, as LLVM spells a broadcast: insert into lane 0, then shuffle."""
    kind = ir.VectorType(scalar.type, lanes)
    undefined = ir.Constant(kind, ir.Undefined)
    first = builder.insert_element(undefined, scalar, I32(0))
    return builder.shuffle_vector(first, undefined, ir.Constant(ir.VectorType(I32, lanes), None))


def fma(builder, a, b, c):
    """a·b + c with one rounding. Explicit, so that bits do not depend on what LLVM contracts."""
    return call(builder, f"llvm.fma.{_suffix(a.type)}", a.type, a, b, c)


def compress(builder, vector, mask):
    """The lanes where the mask is true, moved to the front; zeros behind them."""
    # As integers: without AVX-512, LLVM 22 has no code for floats and aborts the process.
    kind = ir.VectorType(I32, vector.type.count)
    name = f"llvm.experimental.vector.compress.{_suffix(kind)}"
    bits = builder.bitcast(vector, kind)
    packed = call(builder, name, kind, bits, mask, ir.Constant(kind, None))
    return builder.bitcast(packed, vector.type)


def prefetch(builder, pointer):
    """Asks for a cache line in the second-level cache.

    Not in the first: kernels ask about 1,000 entries ahead on each of many streams, and a line
    would be evicted from there before its use.
    """
    read, locality, data = I32(0), I32(2), I32(1)
    call(builder, "llvm.prefetch.p0", ir.VoidType(), pointer, read, locality, data)


@intrinsic
def fetch(typing, address, first, count):
    """Prefetches `count` float32 from element `first` on, of an array at an address.

    They need not exist. For arrays that a kernel reads in bursts: between these, the processor's
    own prefetching stops.
    """

    def codegen(context, builder, signature, args):
        address, first, count = unpack(context, builder, signature, args, 0)
        values, stop = Address(builder, address), builder.add(first, count)
        with cgutils.for_range_slice(builder, first, stop, index(LANES), inc=True) as (i, _):
            prefetch(builder, values.at(i))
        return context.get_dummy_value()

    return types.void(address, first, count), codegen


@jit
def aligned(size):
    """Uninitialised float32 scratch that starts on a cache line, so no vector straddles two."""
    buffer = np.empty(size + LANES, np.float32)
    start = (-(buffer.ctypes.data // 4)) % LANES
    return buffer[start : start + size]


@intrinsic(prefer_literal=True)
def transpose16(typing, src, s0, s_stride, s_rows, dst, d0, d_stride, d_rows):
    """dst[j, i] = src[i, j] for a tile of 16 × 16, float32 or uint8.

    Rows of src from s_rows on are read as its last row; rows of dst from d_rows on are not stored.
    Rows are stored in order, so with d_stride < 16 each overwrites the surplus of the one before.
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
        # A transpose is log2(16) = 4 rounds that each interleave row i with row i + 8: their lower
        # halves become row 2i, their upper halves row 2i + 1. Each round is 16 two-input shuffles.
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
