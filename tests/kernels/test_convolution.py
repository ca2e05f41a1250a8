"""Convolutions of many nets as products equal PyTorch's, with their gradients."""

import pytest
import torch
import torch.nn.functional as F
from torch.func import vmap

from subspace_bench.kernels.convolution import convolve


@pytest.mark.parametrize(("cin", "cout", "kernel", "size"), [(1, 4, 5, 12), (3, 2, 3, 7)])
def test_products_are_convolutions(cin, cout, kernel, size) -> None:
    draw = torch.Generator().manual_seed(0)
    shapes = (2, 6, cin, size, size + 1), (2, cout, cin, kernel, kernel), (2, cout)
    x, weight, bias = (
        torch.randn(shape, generator=draw, dtype=torch.float64).requires_grad_() for shape in shapes
    )
    found, expected = (vmap(f)(x, weight, bias) for f in (convolve, F.conv2d))
    torch.testing.assert_close(found, expected)
    towards = torch.randn(found.shape, generator=draw, dtype=torch.float64)
    pairs = (torch.autograd.grad((y * towards).sum(), (x, weight, bias)) for y in (found, expected))
    for mine, theirs in zip(*pairs, strict=True):
        torch.testing.assert_close(mine, theirs)
