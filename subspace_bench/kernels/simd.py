"""Vector building blocks for the numba kernels: 16 float32 lanes, written as LLVM IR by numba intrinsics.

numba can't keep an array of accumulators in registers; these functions can. Arrays are one-dimensional
and contiguous, offsets and strides count elements, nothing is checked. LLVM lowers the 16 lanes to whatever
the machine has (AVX-512, AVX2, NEON). Arguments in capitals must be compile-time constants.
"""

import zlib
from pathlib import Path

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
FINGERPRINT = zlib.crc32(Path(__file__).read_bytes())  # of this file's code
_F32 = ir.FloatType()
_I64 = ir.IntType(64)
_VEC = ir.VectorType(_F32, LANES)
_I32 = ir.IntType(32)
_INTS = ir.VectorType(_I32, LANES)
_ZERO = ir.Constant(_VEC, None)


class _Array:
    """Element addressing and vector access for one array argument."""

    def __init__(self, context, builder, array_type, value):
        self.builder = builder
        self.data = context.make_array(array_type)(context, builder, value).data
        self.element = context.get_data_type(array_type.dtype)

    def at(self, *offsets):
        pointer = self.data
        for offset in offsets:
            pointer = self.builder.gep(
                pointer, [offset if isinstance(offset, ir.Value) else _int(offset)]
            )
        return pointer

    def scalar(self, *offsets):
        return self.builder.load(self.at(*offsets))

    def load(self, *offsets, lanes=LANES):
        vector = ir.VectorType(self.element, lanes).as_pointer()
        return self.builder.load(
            self.builder.bitcast(self.at(*offsets), vector), align=_size(self.element)
        )

    def store(self, vector, *offsets):
        pointer = self.builder.bitcast(self.at(*offsets), vector.type.as_pointer())
        self.builder.store(vector, pointer, align=_size(self.element))


def _size(element):
    return 4 if element == _F32 else element.width // 8


def _int(value):
    return ir.Constant(_I64, value)


def _ints(value):
    return ir.Constant(_INTS, [value] * LANES)


def _splat(builder, scalar, lanes=LANES):
    vector = ir.VectorType(scalar.type, lanes)
    first = builder.insert_element(ir.Constant(vector, ir.Undefined), scalar, ir.IntType(32)(0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), lanes), None)
    return builder.shuffle_vector(first, ir.Constant(vector, ir.Undefined), zeros)


def _fma(builder, a, b, c):
    function = cgutils.get_or_insert_function(
        builder.module, ir.FunctionType(a.type, [a.type] * 3), f"llvm.fma.v{a.type.count}f32"
    )
    return builder.call(function, [a, b, c])


def _unpack(context, builder, signature, args):
    """Arguments as _Array, LLVM integers (64 bit) and Python constants, by their numba type."""
    for kind, value in zip(signature.args, args):
        if isinstance(kind, types.Array):
            yield _Array(context, builder, kind, value)
        elif isinstance(kind, types.Literal):
            yield kind.literal_value
        elif isinstance(kind, types.Integer):
            yield context.cast(builder, value, kind, types.int64)
        else:
            yield value


def _value(x):
    """A Python constant or an LLVM value, as an LLVM value."""
    return x if isinstance(x, ir.Value) else _int(x)


@intrinsic(prefer_literal=True)
def transpose16(typing, src, s0, s_stride, s_rows, dst, d0, d_stride, d_rows):
    """dst[j, i] = src[i, j] for a 16 x 16 tile (float32 or uint8).

    Rows of src from s_rows on are read as its last row; rows of dst from d_rows on aren't stored.
    Rows of dst are stored in ascending order, so that with d_stride < 16 the next row overwrites the excess.
    """

    def codegen(context, builder, signature, args):
        src, s0, s_stride, s_rows, dst, d0, d_stride, d_rows = _unpack(
            context, builder, signature, args
        )
        s0, s_stride, s_rows, d0, d_stride, d_rows = map(
            _value, (s0, s_stride, s_rows, d0, d_stride, d_rows)
        )
        last = builder.sub(s_rows, _int(1))
        rows = []
        for i in range(LANES):
            row = builder.select(builder.icmp_signed("<", _int(i), s_rows), _int(i), last)
            rows.append(src.load(s0, builder.mul(row, s_stride)))
        # Four perfect-shuffle stages transpose the tile.
        low = [i // 2 + LANES * (i % 2) for i in range(LANES)]
        for _ in range(4):
            rows = [
                builder.shuffle_vector(
                    rows[i // 2],
                    rows[i // 2 + 8],
                    ir.Constant(_INTS, [m + 8 * (i % 2) for m in low]),
                )
                for i in range(LANES)
            ]
        for i in range(LANES):
            with builder.if_then(builder.icmp_signed("<", _int(i), d_rows), likely=True):
                dst.store(rows[i], d0, builder.mul(_int(i), d_stride))
        return context.get_dummy_value()

    return types.void(src, s0, s_stride, s_rows, dst, d0, d_stride, d_rows), codegen


@intrinsic(prefer_literal=True)
def list_survivors(typing, arg, grad, first, count, factor, origin, width, rows, coefs):
    """List the gradients that a max-pool passed on: in window j, to position arg = 2·py + px, if arg < 4.

    For those of the windows first … first + count − 1, in order: rows[i] = origin[j] + py·width + px, the pixel, and
    coefs[i] = grad · factor. Both have room for 16 more. Returns their number and sum(coefs).
    """

    def codegen(context, builder, signature, args):
        arg, grad, first, count, factor, origin, width, rows, coefs = _unpack(
            context, builder, signature, args
        )
        first, count = _value(first), _value(count)
        width = _splat(builder, builder.trunc(_value(width), _I32))
        factor = _splat(builder, factor)
        found = cgutils.alloca_once_value(builder, _int(0))
        total = cgutils.alloca_once_value(builder, _ZERO)
        with cgutils.for_range_slice(builder, _int(0), count, _int(LANES), inc=True) as (j, _):
            left = builder.trunc(builder.sub(count, j), _I32)
            mask = builder.icmp_signed(
                "<", ir.Constant(_INTS, list(range(LANES))), _splat(builder, left)
            )
            position = builder.zext(_masked_load(builder, arg, mask, first, j), _INTS)
            alive = builder.and_(mask, builder.icmp_unsigned("<", position, _ints(4)))
            below = builder.mul(builder.lshr(position, _ints(1)), width)
            pixel = builder.add(below, builder.and_(position, _ints(1)))
            pixel = builder.add(origin.load(j), pixel)
            value = builder.fmul(_masked_load(builder, grad, alive, first, j), factor)
            value = builder.select(alive, value, _ZERO)
            end = builder.load(found)
            rows.store(_compress(builder, pixel, alive), end)
            coefs.store(_compress(builder, value, alive), end)
            bits = builder.ctpop(builder.bitcast(alive, ir.IntType(LANES)))
            builder.store(builder.add(end, builder.zext(bits, _I64)), found)
            builder.store(builder.fadd(builder.load(total), value), total)
        lanes = builder.load(total)
        for half in (8, 4, 2, 1):  # a sum in a fixed order
            order = ir.Constant(_INTS, [i ^ half for i in range(LANES)])
            lanes = builder.fadd(lanes, builder.shuffle_vector(lanes, lanes, order))
        results = [builder.load(found), builder.extract_element(lanes, _I32(0))]
        return context.make_tuple(builder, signature.return_type, results)

    result = types.Tuple((types.int64, types.float32))
    return result(arg, grad, first, count, factor, origin, width, rows, coefs), codegen


def _masked_load(builder, array, mask, *offsets):
    vector = ir.VectorType(array.element, LANES)
    pointer = builder.bitcast(array.at(*offsets), vector.as_pointer())
    kind = ir.FunctionType(vector, [pointer.type, _I32, mask.type, vector])
    name = f"llvm.masked.load.v{LANES}{'f' if array.element == _F32 else 'i'}{8 * _size(array.element)}.p0"
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    align = _I32(_size(array.element))
    return builder.call(function, [pointer, align, mask, ir.Constant(vector, None)])


def _compress(builder, vector, mask):
    kind = ir.FunctionType(vector.type, [vector.type, mask.type, vector.type])
    name = (
        f"llvm.experimental.vector.compress.v{LANES}{'f' if vector.type.element == _F32 else 'i'}32"
    )
    function = cgutils.get_or_insert_function(builder.module, kind, name)
    return builder.call(function, [vector, mask, ir.Constant(vector.type, None)])


@intrinsic(prefer_literal=True)
def sum_rows(
    typing, out, o0, o_stride, src, s0, s_stride, unit, rows, coefs, first, last, S, V, WIDTH, U
):
    """out[o0 + s·o_stride + v] += Σ_j coefs[j] · src[s0 + unit·rows[j] + s·s_stride + v], j = first … last−1.

    s runs over S segments, v over V·WIDTH lanes; S·V·U sums stay in registers. U entries are taken at once and their
    sums added at the end.
    """

    def codegen(context, builder, signature, args):
        out, o0, o_stride, src, s0, s_stride, unit, rows, coefs, first, last, S, V, width, U = (
            _unpack(context, builder, signature, args)
        )
        o0, o_stride, s0, s_stride, unit = map(_value, (o0, o_stride, s0, s_stride, unit))
        first, last = _value(first), _value(last)
        tiles = [(s, v) for s in range(S) for v in range(V)]
        vector = ir.VectorType(_F32, width)
        sums = {}
        for u in range(U):
            for s, v in tiles:
                start = ir.Constant(vector, None)
                if u == 0:
                    start = out.load(o0, builder.mul(_int(s), o_stride), v * width, lanes=width)
                sums[u, s, v] = cgutils.alloca_once_value(builder, start)

        def add(j, entries):
            for u in range(entries):
                row = builder.mul(builder.zext(rows.scalar(j, u), _I64), unit)
                coef = _splat(builder, coefs.scalar(j, u), width)
                for s, v in tiles:
                    part = src.load(s0, row, builder.mul(_int(s), s_stride), v * width, lanes=width)
                    slot = sums[u, s, v]
                    builder.store(_fma(builder, coef, part, builder.load(slot)), slot)

        rest = builder.sub(last, builder.srem(builder.sub(last, first), _int(U))) if U > 1 else last
        with cgutils.for_range_slice(builder, first, rest, _int(U), inc=True) as (j, _):
            add(j, U)
        if U > 1:
            with cgutils.for_range_slice(builder, rest, last, _int(1), inc=True) as (j, _):
                add(j, 1)
        for s, v in tiles:
            total = builder.load(sums[0, s, v])
            for u in range(1, U):
                total = builder.fadd(total, builder.load(sums[u, s, v]))
            out.store(total, o0, builder.mul(_int(s), o_stride), v * width)
        return context.get_dummy_value()

    signature = types.void(
        out, o0, o_stride, src, s0, s_stride, unit, rows, coefs, first, last, S, V, WIDTH, U
    )
    return signature, codegen


@intrinsic(prefer_literal=True)
def conv_window(
    typing,
    x,
    x0,
    x_row,
    x_channel,
    channels,
    w,
    w0,
    bias,
    b0,
    scale,
    c0,
    y,
    arg,
    y0,
    y_stride,
    K,
    G,
    RELU,
    SCALED,
    ARG,
):
    """One pooling window of 16 images, G output channels: y = relu(max over 2 x 2 of (x * w + bias)) · scale.

    x: (channels, rows, columns, 16) with strides x_channel, x_row, 16; w: (channels, K, K, G) at w0; bias, scale:
    (G,) at b0 and (G, 16) at c0. y[y0 + c·y_stride + lane]; arg likewise: which of the four positions
    (row-major) held the first maximum, 4 where relu or a zero scale let no gradient through.
    """

    def codegen(context, builder, signature, args):
        x, x0, x_row, x_channel, channels, w, w0, bias, b0, *rest = _unpack(
            context, builder, signature, args
        )
        scale, c0, y, arg, y0, y_stride, K, G, relu, scaled, with_arg = rest
        x_row, x_channel, channels = _value(x_row), _value(x_channel), _value(channels)
        positions = [(0, 0), (0, 1), (1, 0), (1, 1)]
        sums = []
        for g in range(G):
            start = _splat(builder, bias.scalar(b0, g))
            sums.append([cgutils.alloca_once_value(builder, start) for _ in positions])
        weight = cgutils.alloca_once_value(builder, w.at(w0))
        with cgutils.for_range(builder, channels) as channel:
            plane = builder.add(x0, builder.mul(channel.index, x_channel))
            with cgutils.for_range(builder, _int(K)) as ky:
                row = builder.add(plane, builder.mul(ky.index, x_row))
                rows = [row, builder.add(row, x_row)]
                at = builder.load(weight)
                for kx in range(K):
                    inputs = [x.load(rows[py], (kx + px) * LANES) for py, px in positions]
                    for g in range(G):
                        tap = _splat(builder, builder.load(builder.gep(at, [_int(kx * G + g)])))
                        for p in range(4):
                            slot = sums[g][p]
                            builder.store(_fma(builder, inputs[p], tap, builder.load(slot)), slot)
                builder.store(builder.gep(at, [_int(K * G)]), weight)
        for g in range(G):
            best = builder.load(sums[g][0])
            index = _ints(0)
            for p in range(1, 4):
                value = builder.load(sums[g][p])
                # As torch: a later value wins if larger or NaN.
                wins = builder.or_(
                    builder.fcmp_ordered(">", value, best),
                    builder.fcmp_unordered("uno", value, value),
                )
                best = builder.select(wins, value, best)
                index = builder.select(wins, _ints(p), index)
            dead = ir.Constant(ir.VectorType(ir.IntType(1), LANES), [0] * LANES)
            if relu:
                dead = builder.fcmp_ordered("<=", best, _ZERO)
                best = builder.select(dead, _ZERO, best)
            if scaled:
                factor = scale.load(c0, g * LANES)
                best = builder.fmul(best, factor)
                dead = builder.or_(dead, builder.fcmp_ordered("==", factor, _ZERO))
            offset = builder.add(y0, builder.mul(_int(g), y_stride))
            y.store(best, offset)
            if with_arg:
                index = builder.select(dead, _ints(4), index)
                arg.store(builder.trunc(index, ir.VectorType(ir.IntType(8), LANES)), offset)
        return context.get_dummy_value()

    signature = types.void(
        x,
        x0,
        x_row,
        x_channel,
        channels,
        w,
        w0,
        bias,
        b0,
        scale,
        c0,
        y,
        arg,
        y0,
        y_stride,
        K,
        G,
        RELU,
        SCALED,
        ARG,
    )
    return signature, codegen


@intrinsic(prefer_literal=True)
def dot_and_add(typing, rows, new, old, stride, g, sums, theta, t0, coefs, first, last, ahead, NEW, OLD):
    """Two blocks of rows in one loop over i = first … last−1 (a multiple of 16 apart).

    sums[16·b + lane] += Σ_i rows[new + b·stride + i] · g[i], b < NEW, a lane for each i mod 16;
    theta[t0 + i] += Σ_b coefs[b] · rows[old + b·stride + i], b < OLD.
    """

    def codegen(context, builder, signature, args):
        rows, new, old, stride, g, sums, theta, t0, coefs, first, last, ahead, NEW, OLD = _unpack(
            context, builder, signature, args
        )
        new, old, stride, t0, first = map(_value, (new, old, stride, t0, first))
        last, ahead = _value(last), _value(ahead)
        totals = [cgutils.alloca_once_value(builder, _ZERO) for _ in range(NEW)]
        factors = [_splat(builder, coefs.scalar(b)) for b in range(OLD)]
        with cgutils.for_range_slice(builder, first, last, _int(LANES), inc=True) as (i, _):
            if NEW:
                slope = g.load(i)
                for b, total in enumerate(totals):
                    at = builder.add(builder.add(new, i), builder.mul(_int(b), stride))
                    _prefetch(builder, rows.at(at, ahead))
                    builder.store(_fma(builder, rows.load(at), slope, builder.load(total)), total)
            if OLD:
                change = _ZERO
                for b, factor in enumerate(factors):
                    row = rows.load(builder.add(old, i), builder.mul(_int(b), stride))
                    change = _fma(builder, row, factor, change)
                at = builder.add(t0, i)
                theta.store(builder.fadd(theta.load(at), change), at)
        for b, total in enumerate(totals):
            sums.store(builder.fadd(sums.load(b * LANES), builder.load(total)), b * LANES)
        return context.get_dummy_value()

    signature = types.void(
        rows, new, old, stride, g, sums, theta, t0, coefs, first, last, ahead, NEW, OLD
    )
    return signature, codegen


def _prefetch(builder, pointer):
    kind = ir.FunctionType(ir.VoidType(), [pointer.type, _I32, _I32, _I32])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
    builder.call(function, [pointer, _I32(0), _I32(3), _I32(1)])
