"""The nets of Li, Farkhoor, Liu and Yosinski, "Measuring the Intrinsic Dimension of Objective
Landscapes" (ICLR 2018), besides `post.fc`: LeNet, and three that undo what makes it convolutional.

| net | convolutions | D |
|---|---|---|
| `lenet` | 6 and 16 kernels of 5×5 | 44,426 |
| `untied_lenet` | the same, with a kernel and a bias of its own at every position | 286,334 |
| `fc_lenet` | dense layers to maps of the same size, pools kept | 3,640,574 |
| `fc_tied_lenet` | kernels of 55×55 and 27×27: each output sees all inputs | 193,370 |

All end in dense layers 120 → 84 → 10. Input (N, 1, 28, 28), output logits (N, 10).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from subspace_bench.models.layers import ConvPoolRelu, sequential


def lenet() -> nn.Module:
    """(6, 5×5) → pool → (16, 5×5) → pool → 120 → 84 → 10."""
    return _net(ConvPoolRelu(1, 6, 5), ConvPoolRelu(6, 16, 5), 16 * 4 * 4)


def untied_lenet() -> nn.Module:
    """LeNet without shared weights: 24·24·6·26 + 8·8·16·151 + 41,854 parameters."""
    first = nn.Sequential(UntiedConv(1, 6, 5, 28), nn.ReLU(), nn.MaxPool2d(2))
    second = nn.Sequential(UntiedConv(6, 16, 5, 12), nn.ReLU(), nn.MaxPool2d(2))
    return _net(first, second, 16 * 4 * 4)


def fc_lenet() -> nn.Module:
    """LeNet with dense layers for convolutions: 784 → 6·24·24, pool, 864 → 16·8·8, pool."""
    return _net(DenseMap(784, 6, 24), DenseMap(864, 16, 8), 16 * 4 * 4)


def fc_tied_lenet() -> nn.Module:
    """LeNet with kernels of 55×55 and 27×27 and maps of the input's size."""
    first = nn.Sequential(GlobalConv(1, 6, 28), nn.ReLU(), nn.MaxPool2d(2))
    second = nn.Sequential(GlobalConv(6, 16, 14), nn.ReLU(), nn.MaxPool2d(2))
    return _net(first, second, 16 * 7 * 7)


def _net(first: nn.Module, second: nn.Module, features: int) -> nn.Module:
    return sequential(
        first=first,
        second=second,
        flatten=nn.Flatten(),
        fc1=nn.Linear(features, 120),
        relu1=nn.ReLU(),
        fc2=nn.Linear(120, 84),
        relu2=nn.ReLU(),
        fc3=nn.Linear(84, 10),
    )


class DenseMap(nn.Module):
    """A dense layer to a map of `channels` × `side` × `side`, relu and 2×2 max-pooling."""

    def __init__(self, inputs: int, channels: int, side: int) -> None:
        super().__init__()
        self.shape = (channels, side, side)
        self.dense = nn.Linear(inputs, channels * side * side)

    def forward(self, x: Tensor) -> Tensor:
        """(N, …) with `inputs` numbers an image → (N, channels, side/2, side/2)."""
        return F.max_pool2d(self.dense(x.flatten(1)).view(len(x), *self.shape).relu(), 2)


class UntiedConv(nn.Module):
    """A convolution without padding whose kernel and bias differ at every position.

    Attributes:
        weight: (positions, cout, cin·kernel²), uniform in ±1/√fan_in until initialised.
        bias: (positions, cout), likewise.
    """

    def __init__(self, cin: int, cout: int, kernel: int, side: int) -> None:
        super().__init__()
        self.kernel, self.out_side = kernel, side - kernel + 1
        positions, fan_in = self.out_side**2, cin * kernel**2
        self.weight = nn.Parameter(torch.empty(positions, cout, fan_in))
        self.bias = nn.Parameter(torch.empty(positions, cout))
        nn.init.uniform_(self.weight, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))
        nn.init.uniform_(self.bias, -1 / math.sqrt(fan_in), 1 / math.sqrt(fan_in))

    def forward(self, x: Tensor) -> Tensor:
        """(N, cin, side, side) → (N, cout, side − kernel + 1, likewise)."""
        last = x.permute(1, 2, 3, 0).contiguous()  # images last: patches are copied in rows
        windows = last.unfold(1, self.kernel, 1).unfold(2, self.kernel, 1)
        patches = windows.permute(1, 2, 0, 4, 5, 3).flatten(0, 1).flatten(1, 3)
        maps = torch.baddbmm(self.bias[:, :, None], self.weight, patches)  # (positions, cout, N)
        return maps.permute(2, 1, 0).reshape(len(x), -1, self.out_side, self.out_side)


class GlobalConv(nn.Module):
    """A convolution padded to its input's size, with kernels of 2·side − 1: it sees every pixel.

    It is computed as one matrix product. Row (y, x) of the matrix is the window of the kernel that
    covers the input when the kernel is centred on (y, x).

    Attributes:
        weight: (cout, cin, 2·side − 1, 2·side − 1), uniform in ±1/√fan_in until initialised.
        bias: (cout,), likewise.
    """

    def __init__(self, cin: int, cout: int, side: int) -> None:
        super().__init__()
        self.side, kernel = side, 2 * side - 1
        bound = 1 / math.sqrt(cin * kernel**2)
        self.weight = nn.Parameter(torch.empty(cout, cin, kernel, kernel).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.empty(cout).uniform_(-bound, bound))

    def forward(self, x: Tensor) -> Tensor:
        """(N, cin, side, side) → (N, cout, side, side)."""
        # (cout, cin, y, x, side, side); the window of output y starts at side − 1 − y.
        windows = self.weight.unfold(2, self.side, 1).unfold(3, self.side, 1).flip(2, 3)
        matrix = windows.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(0, 2)
        maps = x.flatten(1) @ matrix.T
        return maps.view(len(x), -1, self.side, self.side) + self.bias[:, None, None]
