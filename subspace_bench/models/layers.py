"""The layer shared by all convolutional nets: conv → Dropout2d → max-pool 2 → relu.

It is one module so that one kernel (kernels/cpu/conv_pool) can skip zero gradients: the pool passes
a gradient to one position of four, and relu and dropout stop even more.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from subspace_bench.kernels.cpu.conv_pool import conv_pool_relu, conv_pool_relu_eager


def sequential(**layers: nn.Module) -> nn.Sequential:
    """`nn.Sequential` of named layers, in the order given."""
    return nn.Sequential(OrderedDict(layers))


class ConvPoolRelu(nn.Module):
    """Convolution, optional Dropout2d, 2×2 max-pooling and (by default) relu.

    Equals `nn.Sequential(nn.Conv2d(cin, cout, kernel, padding=padding), nn.Dropout2d(dropout2d),
    nn.MaxPool2d(2), nn.ReLU())`, and draws the same dropout mask from torch's global generator.
    Conv → relu → pool is the same function because relu is monotone.

    Arguments:
        cin: input channels.
        cout: output channels.
        kernel: side of the square kernel.
        dropout2d: probability that a whole output channel is dropped in training mode.
        relu: False leaves out the relu (Caffe's LeNet has none after its convolutions).
        padding: rows and columns of zeros added on each side of the input.

    Attributes:
        weight: (cout, cin, kernel, kernel), drawn by PyTorch's default rule from the global
            generator until `initialise` fills it.
        bias: (cout,), likewise.

    Raises:
        ValueError: if `dropout2d` is not in [0, 1].
    """

    def __init__(
        self,
        cin: int,
        cout: int,
        kernel: int,
        dropout2d: float = 0.0,
        relu: bool = True,
        padding: int = 0,
    ) -> None:
        super().__init__()
        if not 0.0 <= dropout2d <= 1.0:
            raise ValueError(f"dropout2d is {dropout2d}: it must be a probability")
        self.dropout2d = dropout2d
        self.relu = relu
        self.padding = padding
        self.weight = nn.Parameter(torch.empty(cout, cin, kernel, kernel))
        self.bias = nn.Parameter(torch.empty(cout))
        bound = 1 / math.sqrt(cin * kernel * kernel)
        nn.init.uniform_(self.weight, -bound, bound)
        nn.init.uniform_(self.bias, -bound, bound)

    def channel_scale(self, x: Tensor) -> Tensor | None:
        """The Dropout2d mask for a batch `x`: (N, cout) of 0 and 1/(1−p); None without dropout.

        It has the dtype and device of `x`.
        """
        if not self.training or self.dropout2d == 0.0:
            return None
        # F.dropout2d draws one number per image and channel for any size of the map, so a 1×1 map
        # of ones gives the mask of the full map.
        ones = x.new_ones(x.shape[0], self.weight.shape[0], 1, 1)
        return F.dropout2d(ones, self.dropout2d).flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, cin, H, W) → (N, cout, (H + 2·padding − kernel + 1) // 2, likewise for W)."""
        scale = self.channel_scale(x)
        if self.padding:
            x = F.pad(x, (self.padding,) * 4)
        if self.relu:
            return conv_pool_relu(x, self.weight, self.bias, scale)
        return conv_pool_relu_eager(x, self.weight, self.bias, scale, relu=False)

    def extra_repr(self) -> str:
        """The text inside the brackets of `print(module)`."""
        cout, cin, kernel, _ = self.weight.shape
        return (
            f"{cin}, {cout}, kernel={kernel}, dropout2d={self.dropout2d}, relu={self.relu}, "
            f"padding={self.padding}"
        )
