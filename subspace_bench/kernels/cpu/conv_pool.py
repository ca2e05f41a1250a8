"""conv2d (valid, stride 1) → Dropout2d mask → max_pool2d(2) → relu, fused, on the CPU.

y[n,c,r,q] = s[n,c] · relu(max_{p∈{0,1}²} (b[c] + Σ_{i,u,v} w[c,i,u,v] · x[n,i,2r+p₀+u,2q+p₁+v])).
The pool passes each gradient to one of four positions, and relu and dropout stop more of them. So
the backward pass lists the surviving gradients and touches only their patches.
"""

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..convolution import convolve
from .conv_pool_simd import (
    channels_first,
    channels_last,
    conv_window,
    list_survivors,
    rows_of_weight,
    sum_rows,
)
from .simd import LANES, aligned, jit, transpose16
from .threads import in_threads

# Partial sums of a weight gradient: a fixed number, so that bits do not depend on the threads.
_PARTS = 16
_EMPTY = torch.empty(0)


def conv_pool_relu_eager(
    x: Tensor, weight: Tensor, bias: Tensor, scale: Tensor | None = None, relu: bool = True
) -> Tensor:
    """`conv_pool_relu` in plain PyTorch, on any device and in any dtype.

    Arguments:
        x: (N, Cin, H, W).
        weight: (Cout, Cin, k, k).
        bias: (Cout,).
        scale: (N, Cout), the mask of Dropout2d, not negative; or None.
        relu: whether a relu follows the pooling.

    Returns:
        (N, Cout, (H − k + 1) // 2, (W − k + 1) // 2).
    """
    together = x.is_cuda and torch._C._are_functorch_transforms_active()
    if together and torch.is_grad_enabled():
        y = convolve(x, weight, bias)
    else:
        y = F.conv2d(x, weight, bias)
    if scale is not None:
        y = y * scale[:, :, None, None]
    y = F.max_pool2d(y, 2)
    return F.relu(y) if relu else y


def conv_pool_relu(
    x: Tensor, weight: Tensor, bias: Tensor, scale: Tensor | None = None, relu: bool = True
) -> Tensor:
    """`conv_pool_relu_eager`, fused where all tensors are float32 on the CPU.

    `scale` gets no gradient. The result is contiguous; its bits depend neither on the number of
    threads nor on the machine's vector width. The first call with a new kernel size compiles for
    some seconds; the machine code is kept on disk.
    """
    tensors = [t for t in (x, weight, bias, scale) if t is not None]
    if not _supported(x, weight, scale, tensors):
        return conv_pool_relu_eager(x, weight, bias, scale, relu)
    if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
        return _ConvPoolRelu.apply(x, weight, bias, scale, relu)
    return _forward(x.contiguous(), weight, bias, scale, relu, with_arg=False)[0]


def _supported(x: Tensor, weight: Tensor, scale: Tensor | None, tensors: list[Tensor]) -> bool:
    if any(t.dtype != torch.float32 or t.device.type != "cpu" for t in tensors):
        return False
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return False
    if x.dim() != 4 or (scale is not None and scale.requires_grad):
        return False
    n, _, h, w = x.shape
    cout, _, k, square = weight.shape
    rows, columns = (h - k + 1) // 2, (w - k + 1) // 2
    # Transposes go by tiles of 16 values, which must fit into one channel of the input and into one
    # image of the output.
    fits = min(rows, columns) > 0 and min(h * w, cout * rows * columns) >= LANES
    return n > 0 and k == square and fits


def _forward(
    x: Tensor, weight: Tensor, bias: Tensor, scale: Tensor | None, relu: bool, with_arg: bool
) -> tuple[Tensor, Tensor]:
    """y, and per element the position 0 … 3 that gets the gradient (uint8; 4: none)."""
    n, cin, h, w = x.shape
    cout, _, k, _ = weight.shape
    shape = (n, cout, (h - k + 1) // 2, (w - k + 1) // 2)
    y = torch.empty(shape)
    arg = torch.empty(shape if with_arg else 0, dtype=torch.uint8)
    kernel = _forward_kernel(k, _group(cout), relu, scale is not None, with_arg)
    arrays = _flat(x, weight, bias, scale, y, arg)
    in_threads(kernel, *arrays, n, cin, h, w, cout, parts=-(-n // LANES))
    return y, arg


class _ConvPoolRelu(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, weight, bias, scale, relu):
        x = x.contiguous()
        y, arg = _forward(x, weight, bias, scale, relu, with_arg=True)
        ctx.save_for_backward(x, weight, scale, arg)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad):
        x, weight, scale, arg = ctx.saved_tensors
        n, cin, h, w = x.shape
        cout, _, k, _ = weight.shape
        with_dx = ctx.needs_input_grad[0]
        dx = torch.empty(x.shape if with_dx else 0)
        # With channels last, one row of a patch is k·cin neighbouring floats. They go in vectors
        # of 16 lanes, or of fewer (a power of two) where a row is shorter.
        width = min(LANES, 1 << (k * cin - 1).bit_length())
        vectors = -(-k * cin // width)
        row = vectors * width
        images = -(-n // (_PARTS * LANES)) * LANES  # images in one partial sum
        parts = -(-n // images)
        dw_parts = torch.zeros(parts, cout, k, row)
        db_parts = torch.zeros(parts, cout, dtype=torch.float64)
        kernel = _backward_kernel(k, vectors, width, scale is not None, with_dx)
        arrays = _flat(x, weight, scale, arg, grad, dx, dw_parts, db_parts)
        in_threads(kernel, *arrays, n, cin, h, w, cout, images, parts=parts)
        dw = dw_parts.sum(0)[:, :, : k * cin].view(cout, k, k, cin).permute(0, 3, 1, 2)
        return dx if with_dx else None, dw, db_parts.sum(0).float(), None, None


def _flat(*tensors: Tensor | None) -> list[np.ndarray]:
    """One-dimensional views for a kernel, which takes an empty array where a tensor is absent."""
    return [(_EMPTY if t is None else t.detach()).reshape(-1).numpy() for t in tensors]


def _group(channels: int) -> int:
    """Output channels that are computed together: the most of those that need the least padding.

    They keep 4·group sums (one per pooling position) in registers: 24 of AVX-512's 32.
    """
    return min((6, 5, 4, 3), key=lambda g: -(-channels // g) * g)


@cache
def _forward_kernel(K: int, G: int, RELU: bool, SCALED: bool, ARG: bool):
    @jit
    def forward(x, weight, bias, scale, y, arg, n, cin, h, w, cout, first, last):
        """Blocks of 16 images, one image per lane, so that pooling needs no shuffle."""
        rows, columns = (h - K + 1) // 2, (w - K + 1) // 2
        pixels, windows = cin * h * w, rows * columns
        groups = (cout + G - 1) // G
        taps = cin * K * K
        xs = aligned(pixels * LANES)
        ys = aligned(groups * G * windows * LANES)
        args = np.empty(groups * G * windows * LANES if ARG else 0, np.uint8)
        ws, bs = aligned(groups * G * taps), aligned(groups * G)
        factors = aligned(groups * G * LANES)
        # Weights as (group, tap, channel in the group): the order in which they are used. The last
        # group is padded with zero weights, whose outputs are not copied to y.
        for c in range(groups * G):
            bs[c] = bias[c] if c < cout else 0
            at = (c // G) * taps * G + c % G
            for t in range(taps):
                ws[at + t * G] = weight[c * taps + t] if c < cout else 0
        for block in range(first, last):
            n0 = block * LANES
            images = min(LANES, n - n0)
            for i in range(0, pixels, LANES):
                i = min(i, pixels - LANES)  # the last tile overlaps the one before
                transpose16(x, n0 * pixels + i, pixels, images, xs, i * LANES, LANES, LANES)
            if SCALED:
                for c in range(cout):
                    for lane in range(LANES):
                        factors[c * LANES + lane] = scale[(n0 + min(lane, images - 1)) * cout + c]
            for window in range(windows):
                x0 = (window // columns * 2 * w + window % columns * 2) * LANES
                for group in range(groups):
                    g0 = group * G
                    conv_window(
                        xs, x0, w * LANES, h * w * LANES, cin, ws, g0 * taps, bs, g0,
                        factors, g0 * LANES, ys, args, (g0 * windows + window) * LANES,
                        windows * LANES, K, G, RELU, SCALED, ARG,
                    )  # fmt: skip
            outputs = cout * windows
            for i in range(0, outputs, LANES):
                i = min(i, outputs - LANES)
                transpose16(ys, i * LANES, LANES, LANES, y, n0 * outputs + i, outputs, images)
                if ARG:
                    transpose16(
                        args, i * LANES, LANES, LANES, arg, n0 * outputs + i, outputs, images
                    )

    return forward


@cache
def _backward_kernel(K: int, V: int, WIDTH: int, SCALED: bool, DX: bool):
    # S rows of a patch are summed at once, V vectors each, and U list entries in separate sums:
    # S·V·U registers. Several sums hide the latency of the fma; some registers stay free for loads.
    S = max(s for s in range(1, K + 1) if K % s == 0 and (s == 1 or s * V <= 24))
    U = max(1, min(4, 20 // (S * V)))

    @jit
    def backward(x, weight, scale, arg, grad, dx, dw, db, n, cin, h, w, cout, images, first, last):
        """One image at a time. dw[c] += slope · patch, and dx[patch] += slope · w[c], for each
        surviving gradient.
        """
        rows, columns = (h - K + 1) // 2, (w - K + 1) // 2
        windows, pixels = rows * columns, h * w
        row = V * WIDTH
        size = K * row
        padded = pixels * cin + row + LANES  # vectors may reach past the last pixel
        image = aligned(padded)
        image[:] = 0
        origin = np.zeros(windows + LANES, np.uint32)  # each window's pixel in the top left corner
        for window in range(windows):
            origin[window] = window // columns * 2 * w + window % columns * 2
        # The survivors of one channel: pixel and gradient of each.
        alive = np.empty(windows + LANES, np.uint32)
        slopes = np.empty(windows + LANES, np.float32)
        if DX:
            # The same by pixel: `count[pixel]` channels and gradients from pixel·cout on, so that a
            # patch of dx is loaded and stored once, not once per channel.
            dimage = aligned(padded)
            ws = rows_of_weight(weight, cout, cin, K, row)
            count = np.zeros(pixels, np.int64)
            channels = np.empty(pixels * cout, np.uint32)
            channel_slopes = np.empty(pixels * cout, np.float32)
        for part in range(first, last):
            for i in range(part * images, min(n, (part + 1) * images)):
                channels_last(x, i * cin * pixels, image, cin, pixels)
                for c in range(cout):
                    factor = scale[i * cout + c] if SCALED else np.float32(1)
                    if factor == 0:  # dropped: no gradient at all
                        continue
                    at = (i * cout + c) * windows
                    survivors, total = list_survivors(
                        arg, grad, at, windows, factor, origin, w, alive, slopes
                    )
                    db[part * cout + c] += total
                    for u in range(0, K, S):
                        sum_rows(
                            dw, (part * cout + c) * size + u * row, row,
                            image, u * w * cin, w * cin, cin,
                            alive, slopes, 0, survivors, S, V, WIDTH, U,
                        )  # fmt: skip
                    if DX:
                        for j in range(survivors):
                            pixel = alive[j]
                            at = pixel * cout + count[pixel]
                            channels[at] = c
                            channel_slopes[at] = slopes[j]
                            count[pixel] += 1
                if DX:
                    dimage[:] = 0
                    for pixel in range(pixels):
                        if count[pixel] > 0:
                            at = pixel * cout
                            for u in range(0, K, S):
                                sum_rows(
                                    dimage, (pixel + u * w) * cin, w * cin,
                                    ws, u * row, row, size,
                                    channels, channel_slopes, at, at + count[pixel],
                                    S, V, WIDTH, 1,
                                )  # fmt: skip
                            count[pixel] = 0
                    channels_first(dimage, dx, i * cin * pixels, cin, pixels)

    return backward
