"""conv2d (valid, stride 1) → Dropout2d mask → max_pool2d(2) → relu, fused, on the CPU.

y[n,c,r,q] = s[n,c] · relu(max_{p∈{0,1}²} (b[c] + Σ_{i,u,v} w[c,i,u,v] · x[n,i,2r+p₀+u,2q+p₁+v])).
The pool hands each gradient to one of four positions, relu and dropout drop more of them: backward
touches the survivors only.
"""

from functools import cache

import numpy as np
import torch
import torch.nn.functional as F
from numba import njit
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import conv_pool_simd
from .conv_pool_simd import conv_window, list_survivors, sum_rows
from .simd import LANES, aligned, fingerprint, transpose16
from .threads import in_threads

_JIT = {"cache": True, "nogil": True, "error_model": "numpy"}
_PARTS = 16  # partial sums of a weight gradient; fixed, so that results don't depend on the threads


def conv_pool_relu_eager(
    x: Tensor, weight: Tensor, bias: Tensor, scale: Tensor | None = None, relu: bool = True
) -> Tensor:
    """The same in plain PyTorch, on any device and dtype.

    **Arguments:** `x` (N, Cin, H, W); `weight` (Cout, Cin, k, k); `bias` (Cout,); `scale`
    (N, Cout), not negative: the mask of Dropout2d, or None.

    **Returns:** (N, Cout, (H−k+1)//2, (W−k+1)//2).
    """
    y = F.conv2d(x, weight, bias)
    if scale is not None:
        y = y * scale[:, :, None, None]
    y = F.max_pool2d(y, 2)
    return F.relu(y) if relu else y


def conv_pool_relu(
    x: Tensor, weight: Tensor, bias: Tensor, scale: Tensor | None = None, relu: bool = True
) -> Tensor:
    """`reference`, fused where everything is float32 on the CPU; the result is contiguous.

    `scale` is a constant: it gets no gradient. The first call of a kind compiles (seconds; kept on
    disk). Results depend neither on the number of threads nor on the machine's vector width.
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
    # Tiles of 16 values must fit into one channel of the input and one image of the output.
    fits = min(rows, columns) > 0 and min(h * w, cout * rows * columns) >= LANES
    return n > 0 and k == square and fits


def _forward(
    x: Tensor, weight: Tensor, bias: Tensor, scale: Tensor | None, relu: bool, with_arg: bool
) -> tuple[Tensor, Tensor]:
    """y, and for each entry which of its four positions gets the gradient (uint8; 4: none)."""
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
        width = min(LANES, 1 << (k * cin - 1).bit_length())
        vectors = -(-k * cin // width)
        row = vectors * width
        images = -(-n // (_PARTS * LANES)) * LANES  # per partial sum
        parts = -(-n // images)
        dw_parts = torch.zeros(parts, cout, k, row)
        db_parts = torch.zeros(parts, cout, dtype=torch.float64)
        kernel = _backward_kernel(k, vectors, width, scale is not None, with_dx)
        arrays = _flat(x, weight, scale, arg, grad, dx, dw_parts, db_parts)
        in_threads(kernel, *arrays, n, cin, h, w, cout, images, parts=parts)
        dw = dw_parts.sum(0)[:, :, : k * cin].view(cout, k, k, cin).permute(0, 3, 1, 2)
        return dx if with_dx else None, dw, db_parts.sum(0).float(), None, None


_EMPTY = torch.empty(0)


def _flat(*tensors: Tensor | None) -> list[np.ndarray]:
    return [(_EMPTY if t is None else t.detach()).reshape(-1).numpy() for t in tensors]


def _group(channels: int) -> int:
    """Output channels computed at once, 4·group sums in registers: least padding, then most."""
    return min((6, 5, 4, 3), key=lambda g: -(-channels // g) * g)


@cache
def _forward_kernel(K: int, G: int, RELU: bool, SCALED: bool, ARG: bool):
    mark = fingerprint(conv_pool_simd.__file__)

    @njit(**_JIT)
    def forward(x, weight, bias, scale, y, arg, n, cin, h, w, cout, first, last):
        """Blocks of 16 images, one image a lane: the pooling then needs no shuffles."""
        mark  # noqa: B018 (see fingerprint)
        rows, columns = (h - K + 1) // 2, (w - K + 1) // 2
        pixels, windows = cin * h * w, rows * columns
        groups = (cout + G - 1) // G
        taps = cin * K * K
        xs = aligned(pixels * LANES)
        ys = aligned(groups * G * windows * LANES)
        args = np.empty(groups * G * windows * LANES if ARG else 0, np.uint8)
        ws, bs = aligned(groups * G * taps), aligned(groups * G)
        factors = aligned(groups * G * LANES)
        for c in range(groups * G):
            bs[c] = bias[c] if c < cout else 0
            at = (c // G) * taps * G + c % G
            for t in range(taps):
                ws[at + t * G] = weight[c * taps + t] if c < cout else 0
        for block in range(first, last):
            n0 = block * LANES
            images = min(LANES, n - n0)
            for i in range(0, pixels, LANES):
                i = min(i, pixels - LANES)
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
    # Rows of a patch, and entries of a list, whose sums fit into the registers at once.
    S = max(s for s in range(1, K + 1) if K % s == 0 and (s == 1 or s * V <= 24))
    U = max(1, min(4, 20 // (S * V)))
    mark = fingerprint(conv_pool_simd.__file__)

    @njit(**_JIT)
    def backward(x, weight, scale, arg, grad, dx, dw, db, n, cin, h, w, cout, images, first, last):
        """Survivor by survivor; with channels last, a row of a patch lies in K·cin floats."""
        mark  # noqa: B018
        rows, columns = (h - K + 1) // 2, (w - K + 1) // 2
        windows, pixels = rows * columns, h * w
        row = V * WIDTH
        size = K * row
        padded = pixels * cin + row + LANES  # vectors may reach beyond the last pixel
        image = aligned(padded)
        image[:] = 0
        origin = np.zeros(windows + LANES, np.uint32)
        for window in range(windows):
            origin[window] = window // columns * 2 * w + window % columns * 2
        # A channel's survivors; then, per pixel, the channels that have one there.
        alive = np.empty(windows + LANES, np.uint32)
        slopes = np.empty(windows + LANES, np.float32)
        if DX:
            dimage = aligned(padded)
            ws = _rows_of_weight(weight, cout, cin, K, row)
            count = np.zeros(pixels, np.int64)
            channels = np.empty(pixels * cout, np.uint32)
            channel_slopes = np.empty(pixels * cout, np.float32)
        for part in range(first, last):
            for i in range(part * images, min(n, (part + 1) * images)):
                _channels_last(x, i * cin * pixels, image, cin, pixels)
                for c in range(cout):
                    factor = scale[i * cout + c] if SCALED else np.float32(1)
                    if factor == 0:
                        continue
                    at = (i * cout + c) * windows
                    found, total = list_survivors(
                        arg, grad, at, windows, factor, origin, w, alive, slopes
                    )
                    db[part * cout + c] += total
                    for u in range(0, K, S):
                        sum_rows(
                            dw, (part * cout + c) * size + u * row, row,
                            image, u * w * cin, w * cin, cin,
                            alive, slopes, 0, found, S, V, WIDTH, U,
                        )  # fmt: skip
                    if DX:
                        for j in range(found):
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
                    _channels_first(dimage, dx, i * cin * pixels, cin, pixels)

    return backward


@njit(**_JIT)
def _rows_of_weight(weight, cout, cin, k, row):
    """(cout, cin, k, k) → (cout, k, row) with (column, channel) in a row, then zeros."""
    ws = aligned(cout * k * row)
    ws[:] = 0
    for c in range(cout):
        for i in range(cin):
            for u in range(k):
                for v in range(k):
                    ws[(c * k + u) * row + v * cin + i] = weight[((c * cin + i) * k + u) * k + v]
    return ws


@njit(**_JIT)
def _channels_last(source, at, target, cin, pixels):
    """(cin, pixels) → (pixels, cin)."""
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
    else:
        for q in range(pixels):
            for c in range(cin):
                target[q * cin + c] = source[at + c * pixels + q]


@njit(**_JIT)
def _channels_first(source, target, at, cin, pixels):
    """(pixels, cin) → (cin, pixels)."""
    for q in range(0, pixels, LANES):
        q = min(q, pixels - LANES)
        for c in range(0, cin, LANES):
            transpose16(
                source, q * cin + c, cin, LANES,
                target, at + c * pixels + q, pixels, min(cin - c, LANES),
            )  # fmt: skip
