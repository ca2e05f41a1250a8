"""The nets of Li et al. 2018: their sizes, and layers against torch's convolutions."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from subspace_bench.models import li2018, parameter_count


@pytest.mark.parametrize(
    ("net", "count"),
    [
        (li2018.lenet, 44_426),
        (li2018.untied_lenet, 286_334),
        (li2018.fc_lenet, 3_640_574),
        (li2018.fc_tied_lenet, 193_370),
    ],
)
def test_nets_have_the_paper_s_parameter_counts(net, count: int) -> None:
    module = net()
    assert parameter_count(module) == count
    assert module(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_a_global_convolution_is_torch_s_with_padding() -> None:
    layer, x = li2018.GlobalConv(3, 4, 6), torch.randn(2, 3, 6, 6)
    expected = F.conv2d(x, layer.weight, layer.bias, padding=5)
    torch.testing.assert_close(layer(x), expected)


def test_an_untied_convolution_with_equal_kernels_is_torch_s() -> None:
    layer, x = li2018.UntiedConv(2, 3, 5, 8), torch.randn(2, 2, 8, 8)
    weight, bias = torch.randn(3, 50), torch.randn(3)
    with torch.no_grad():
        layer.weight.copy_(weight)
        layer.bias.copy_(bias)
    expected = F.conv2d(x, weight.view(3, 2, 5, 5), bias)
    torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-4)


def test_an_untied_convolution_has_a_kernel_at_every_position() -> None:
    layer, x = li2018.UntiedConv(1, 1, 2, 3), torch.randn(1, 1, 3, 3)
    for position, (row, column) in enumerate([(0, 0), (0, 1), (1, 0), (1, 1)]):
        patch = x[0, 0, row : row + 2, column : column + 2].flatten()
        expected = layer.weight[position, 0] @ patch + layer.bias[position, 0]
        torch.testing.assert_close(layer(x)[0, 0, row, column], expected)
