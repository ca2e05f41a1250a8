"""Inner loops of conv_pool.py: one pooling window of 16 images, lists of surviving gradients, sums
of patches, and the transposes between (channels, pixels) and (pixels, channels).
"""

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .simd import (
    F32,
    I32,
    I64,
    INTS,
    LANES,
    ZERO,
    aligned,
    compress,
    fma,
    index,
    ints,
    jit,
    splat,
    transpose16,
    unpack,
)


@intrinsic(prefer_literal=True)
def conv_window(
    typing, x, x0, x_row, x_channel, channels, w, w0, bias, b0, scale, s0, y, arg, y0, y_stride,
    K, G, RELU, SCALED, ARG,
):  # fmt: skip
    """y = relu(max over 2 x 2 of (x * w + bias)) · scale in one window, for G output channels.

    Arguments:
        x: (channels, rows, columns, 16 images), strides x_channel, x_row and 16.
        w: (channels, K, K, G); bias: (G,); scale: (G, 16).
        y, arg: (G, 16), stride y_stride. `arg` gets the position 0 … 3, row by row, of the first
            maximum; 4 where relu or a zero scale lets no gradient through.
    """

    def codegen(context, builder, signature, args):
        (
            x, x0, x_row, x_channel, channels, w, w0, bias, b0, scale, s0, y, arg, y0, y_stride,
            K, G, relu, scaled, with_arg,
        ) = unpack(context, builder, signature, args, 5)  # fmt: skip
        positions = [(0, 0), (0, 1), (1, 0), (1, 1)]  # of the pooling window: (row, column)
        sums = []  # 4·G of them, all in registers; each input vector loaded serves G channels
        for g in range(G):
            start = splat(builder, bias.scalar(b0, g))
            sums.append([cgutils.alloca_once_value(builder, start) for _ in positions])
        taps = cgutils.alloca_once_value(builder, w.at(w0))
        with cgutils.for_range(builder, channels) as channel:
            plane = builder.add(x0, builder.mul(channel.index, x_channel))
            with cgutils.for_range(builder, index(K)) as ky:
                row = builder.add(plane, builder.mul(ky.index, x_row))
                rows = [row, builder.add(row, x_row)]
                at = builder.load(taps)
                for kx in range(K):
                    inputs = [x.load(rows[py], (kx + px) * LANES) for py, px in positions]
                    for g in range(G):
                        tap = builder.load(builder.gep(at, [index(kx * G + g)]))
                        tap = splat(builder, tap)
                        for total, value in zip(sums[g], inputs, strict=True):
                            builder.store(fma(builder, value, tap, builder.load(total)), total)
                builder.store(builder.gep(at, [index(K * G)]), taps)
        for g in range(G):
            best, which = builder.load(sums[g][0]), ints(0)
            for p in range(1, 4):
                value = builder.load(sums[g][p])
                # As in torch, a later one wins if it is larger or NaN, not if it is equal.
                larger = builder.fcmp_ordered(">", value, best)
                wins = builder.or_(larger, builder.fcmp_unordered("uno", value, value))
                best = builder.select(wins, value, best)
                which = builder.select(wins, ints(p), which)
            if relu:
                dead = builder.fcmp_ordered("<=", best, ZERO)
                best = builder.select(dead, ZERO, best)
                which = builder.select(dead, ints(4), which)
            if scaled:
                factor = scale.load(s0, g * LANES)
                best = builder.fmul(best, factor)
                which = builder.select(builder.fcmp_ordered("==", factor, ZERO), ints(4), which)
            offset = builder.add(y0, builder.mul(index(g), y_stride))
            y.store(best, offset)
            if with_arg:
                arg.store(builder.trunc(which, ir.VectorType(ir.IntType(8), LANES)), offset)
        return context.get_dummy_value()

    signature = types.void(
        x, x0, x_row, x_channel, channels, w, w0, bias, b0, scale, s0, y, arg, y0, y_stride,
        K, G, RELU, SCALED, ARG,
    )  # fmt: skip
    return signature, codegen


@intrinsic(prefer_literal=True)
def list_survivors(typing, arg, grad, first, count, factor, origin, width, rows, coefs):
    """Lists the gradients that pass the pooling: those of windows whose arg = 2·py + px is below 4.

    For window j of first … first + count − 1, in order, the next entry is rows[i] = origin[j] +
    py·width + px (a pixel) and coefs[i] = grad · factor. `rows`, `coefs` and `origin` have room for
    16 elements more than are used, as vectors are stored whole.

    Returns:
        the number of entries, and the sum of coefs.
    """

    def codegen(context, builder, signature, args):
        arg, grad, first, count, factor, origin, width, rows, coefs = unpack(
            context, builder, signature, args, 0
        )
        width = splat(builder, builder.trunc(width, I32))
        factor = splat(builder, factor)
        lanes = ir.Constant(INTS, list(range(LANES)))
        survivors = cgutils.alloca_once_value(builder, index(0))
        total = cgutils.alloca_once_value(builder, ZERO)
        with cgutils.for_range_slice(builder, index(0), count, index(LANES), inc=True) as (j, _):
            left = splat(builder, builder.trunc(builder.sub(count, j), I32))
            mask = builder.icmp_signed("<", lanes, left)
            position = builder.zext(arg.masked_load(mask, first, j), INTS)
            alive = builder.and_(mask, builder.icmp_unsigned("<", position, ints(4)))
            pixel = builder.mul(builder.lshr(position, ints(1)), width)
            pixel = builder.add(pixel, builder.and_(position, ints(1)))
            pixel = builder.add(pixel, origin.load(j))
            slope = builder.fmul(grad.masked_load(alive, first, j), factor)
            slope = builder.select(alive, slope, ZERO)
            end = builder.load(survivors)
            rows.store(compress(builder, pixel, alive), end)
            coefs.store(compress(builder, slope, alive), end)
            # The next store begins behind the survivors of these 16 windows.
            number = builder.ctpop(builder.bitcast(alive, ir.IntType(LANES)))
            builder.store(builder.add(end, builder.zext(number, I64)), survivors)
            builder.store(builder.fadd(builder.load(total), slope), total)
        # A butterfly over lanes leaves the sum of all 16 in each of them.
        sums = builder.load(total)
        for half in (8, 4, 2, 1):
            order = ir.Constant(INTS, [lane ^ half for lane in range(LANES)])
            sums = builder.fadd(sums, builder.shuffle_vector(sums, sums, order))
        results = [builder.load(survivors), builder.extract_element(sums, I32(0))]
        return context.make_tuple(builder, signature.return_type, results)

    result = types.Tuple((types.int64, types.float32))
    return result(arg, grad, first, count, factor, origin, width, rows, coefs), codegen


@intrinsic(prefer_literal=True)
def sum_rows(
    typing, out, o0, o_stride, src, s0, s_stride, unit, rows, coefs, first, last, S, V, WIDTH, U
):
    """out[o0 + s·o_stride + v] += Σ_j coefs[j] · src[s0 + unit·rows[j] + s·s_stride + v].

    j = first … last − 1; s runs over S segments and v over V·WIDTH lanes. U entries j are taken at
    once, each into sums of its own, which are added at the end; all S·V·U sums stay in registers.
    """

    def codegen(context, builder, signature, args):
        (
            out, o0, o_stride, src, s0, s_stride, unit, rows, coefs, first, last, S, V, width, U,
        ) = unpack(context, builder, signature, args, 4)  # fmt: skip
        tiles = [(s, v * width) for s in range(S) for v in range(V)]
        zero = ir.Constant(ir.VectorType(F32, width), None)
        sums = []
        for s, v in tiles:
            start = out.load(o0, builder.mul(index(s), o_stride), v, lanes=width)
            starts = [start] + [zero] * (U - 1)
            sums.append([cgutils.alloca_once_value(builder, start) for start in starts])

        def add(j, entries):
            for u in range(entries):
                row = builder.mul(builder.zext(rows.scalar(j, u), I64), unit)
                coef = splat(builder, coefs.scalar(j, u), width)
                for totals, (s, v) in zip(sums, tiles, strict=True):
                    part = src.load(s0, row, builder.mul(index(s), s_stride), v, lanes=width)
                    builder.store(fma(builder, coef, part, builder.load(totals[u])), totals[u])

        rest = builder.sub(last, builder.srem(builder.sub(last, first), index(U)))
        with cgutils.for_range_slice(builder, first, rest, index(U), inc=True) as (j, _):
            add(j, U)
        if U > 1:
            with cgutils.for_range_slice(builder, rest, last, index(1), inc=True) as (j, _):
                add(j, 1)
        for totals, (s, v) in zip(sums, tiles, strict=True):
            total = builder.load(totals[0])
            for other in totals[1:]:
                total = builder.fadd(total, builder.load(other))
            out.store(total, o0, builder.mul(index(s), o_stride), v)
        return context.get_dummy_value()

    signature = types.void(
        out, o0, o_stride, src, s0, s_stride, unit, rows, coefs, first, last, S, V, WIDTH, U
    )
    return signature, codegen


@jit
def rows_of_weight(weight, cout, cin, k, row):
    """(cout, cin, k, k) → (cout, k, row) with (column, channel) in a row, then zeros."""
    ws = aligned(cout * k * row)
    ws[:] = 0
    for c in range(cout):
        for i in range(cin):
            for u in range(k):
                for v in range(k):
                    ws[(c * k + u) * row + v * cin + i] = weight[((c * cin + i) * k + u) * k + v]
    return ws


@jit
def channels_last(source, at, target, cin, pixels):
    """(cin, pixels) → (pixels, cin), so that one row of a patch is contiguous."""
    if cin == 1:
        target[:pixels] = source[at : at + pixels]
    elif cin <= LANES or cin % LANES == 0:
        for q in range(0, pixels, LANES):
            q = min(q, pixels - LANES)
            for c in range(0, cin, LANES):
                transpose16(
                    source, at + c * pixels + q, pixels, min(cin - c, LANES),
                    target, q * cin + c, cin, LANES,
                )  # fmt: skip
    else:  # overlapping tiles of channels would overwrite each other
        for q in range(pixels):
            for c in range(cin):
                target[q * cin + c] = source[at + c * pixels + q]


@jit
def channels_first(source, target, at, cin, pixels):
    """(pixels, cin) → (cin, pixels)."""
    for q in range(0, pixels, LANES):
        q = min(q, pixels - LANES)
        for c in range(0, cin, LANES):
            transpose16(
                source, q * cin + c, cin, LANES,
                target, at + c * pixels + q, pixels, min(cin - c, LANES),
            )  # fmt: skip
