"""The fused convolution equals plain PyTorch."""

import pytest
import torch

from subspace_bench.kernels.cpu.conv_pool import conv_pool_relu, conv_pool_relu_eager

# (images, channels in, height, width, channels out, kernel)
SHAPES = [
    (32, 1, 28, 28, 10, 5),  # the post's
    (32, 10, 12, 12, 20, 5),
    (33, 1, 28, 28, 6, 4),  # MNIST-lite: a map of 25 x 25, of 9 x 9
    (7, 6, 12, 12, 6, 4),
    (5, 8, 12, 12, 16, 4),
    (3, 1, 28, 28, 30, 5),  # tutorials
    (3, 30, 12, 12, 15, 3),
    (2, 32, 12, 12, 32, 5),
    (1, 20, 12, 12, 50, 5),
    (300, 2, 9, 8, 1, 2),
    (17, 3, 7, 10, 7, 3),
    (2, 40, 6, 6, 4, 1),
    (5, 2, 8, 8, 4, 1),
]


def problem(shape, scaled=False, integers=False, seed=0):
    """x, weight, bias, scale, a gradient of y. Small integers make sums exact: ties are ties."""
    n, cin, h, w, cout, k = shape
    generator = torch.Generator().manual_seed(seed)

    def draw(*size):
        if integers:
            return torch.randint(-2, 3, size, generator=generator).float()
        return torch.randn(size, generator=generator)

    x, weight, bias = draw(n, cin, h, w), draw(cout, cin, k, k), draw(cout)
    scale = 2.0 * torch.randint(0, 2, (n, cout), generator=generator) if scaled else None
    return x, weight, bias, scale, draw(n, cout, (h - k + 1) // 2, (w - k + 1) // 2)


def run(function, x, weight, bias, scale, grad, dx=True, **options):
    """Output and gradients (None for x where dx is False)."""
    leaves = [t.detach().requires_grad_(dx or t is not x) for t in (x, weight, bias)]
    y = function(*leaves, scale, **options)
    y.backward(grad)
    return [y.detach()] + [t.grad for t in leaves]


def distance(a, b):
    return ((a.double() - b.double()).norm() / b.double().norm().clamp(min=1e-30)).item()


# Each shape compiles kernels of its own, which takes seconds where they are not on disk yet: the
# fast lane has only the post's two.
FAST_FIRST = [
    pytest.param(shape, marks=() if i < 2 else pytest.mark.slow, id=str(shape))
    for i, shape in enumerate(SHAPES)
]


@pytest.mark.parametrize("dx", [False, True])
@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("shape", FAST_FIRST)
def test_equals_plain_torch(shape, scaled, dx):
    args = problem(shape, scaled)
    exact = run(conv_pool_relu_eager, *(t if t is None else t.double() for t in args), dx=dx)
    for ours, theirs in zip(run(conv_pool_relu, *args, dx=dx), exact, strict=True):
        assert (ours is None) == (theirs is None)
        if ours is not None:
            assert ours.is_contiguous()
            assert distance(ours, theirs) < 2e-6


@pytest.mark.parametrize("relu", [False, True])
@pytest.mark.parametrize("shape", FAST_FIRST[:5])
def test_ties_go_to_the_first(shape, relu):
    x, weight, bias, scale, grad = problem(shape, scaled=relu, integers=True)
    x[0], bias[0] = 0, 1  # a blank image: every window a tie
    args = (x, weight, bias, scale, grad)
    for ours, theirs in zip(
        run(conv_pool_relu, *args, relu=relu),
        run(conv_pool_relu_eager, *args, relu=relu),
        strict=True,
    ):
        assert torch.equal(ours, theirs)


def test_dead_channels():
    x, weight, bias, scale, grad = problem(SHAPES[1], scaled=True)
    bias[:3], scale[:, 3:6] = -1e3, 0
    y, _dx, dw, db = run(conv_pool_relu, x, weight, bias, scale, grad)
    assert not y[:, :6].any()
    assert not dw[:6].any()
    assert not db[:6].any()
    assert dw[6:].any()
    bias[:] = -1e3
    assert not any(t.any() for t in run(conv_pool_relu, x, weight, bias, scale, grad))


def test_nan_stays_nan():
    x, weight, bias, _, _ = problem(SHAPES[0])
    x[1, 0, 10, 10] = torch.nan
    y, r = conv_pool_relu(x, weight, bias), conv_pool_relu_eager(x, weight, bias)
    assert torch.equal(y.isnan(), r.isnan())


@pytest.mark.parametrize("shape", [SHAPES[0], SHAPES[1], SHAPES[2]], ids=str)
def test_same_bits_each_time_and_on_any_threads(shape):
    shape = (100, *shape[1:])  # seven blocks of 16: the threads get unequal shares
    args = problem(shape, scaled=True)
    first = run(conv_pool_relu, *args)
    again = run(conv_pool_relu, *args)
    torch.set_num_threads(2)
    two = run(conv_pool_relu, *args)
    assert all(
        torch.equal(a, b) and torch.equal(a, c) for a, b, c in zip(first, again, two, strict=True)
    )


def test_images_do_not_depend_on_their_batch():
    x, weight, bias, _, _ = problem((50, *SHAPES[1][1:]))
    whole = conv_pool_relu(x, weight, bias)
    parts = torch.cat([conv_pool_relu(part, weight, bias) for part in x.split(7)])
    assert torch.equal(whole, parts)


def test_without_gradients():
    x, weight, bias, scale, _ = problem(SHAPES[1], scaled=True)
    leaves = [t.clone().requires_grad_() for t in (x, weight, bias)]
    with torch.no_grad():
        y = conv_pool_relu(*leaves, scale)
    assert not y.requires_grad
    assert torch.equal(y, conv_pool_relu(*leaves, scale))


def test_strided_inputs():
    x, weight, bias, scale, grad = problem(SHAPES[1], scaled=True)
    strided = [
        x.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2),
        weight.transpose(2, 3).contiguous().transpose(2, 3),
        torch.stack([bias, bias], 1)[:, 0],
        scale.T.contiguous().T,
        grad.permute(1, 2, 3, 0).contiguous().permute(3, 0, 1, 2),
    ]
    assert not any(t.is_contiguous() for t in strided)
    ours, plain = run(conv_pool_relu, *strided), run(conv_pool_relu, x, weight, bias, scale, grad)
    assert all(torch.equal(a, b) for a, b in zip(ours, plain, strict=True))


def test_falls_back_to_plain_torch():
    args = [t.double() for t in problem(SHAPES[3], scaled=True)]
    for ours, theirs in zip(
        run(conv_pool_relu, *args), run(conv_pool_relu_eager, *args), strict=True
    ):
        assert torch.equal(ours, theirs)
    x, weight, bias, _, _ = problem((2, 1, 4, 4, 1, 3))  # too small for the kernel
    assert torch.equal(conv_pool_relu(x, weight, bias), conv_pool_relu_eager(x, weight, bias))


def test_under_torch_func():
    x, weight, bias, _, _ = problem(SHAPES[3])
    slope = torch.func.grad(lambda w: conv_pool_relu(x, w, bias).square().sum())(weight)
    weight.requires_grad_()
    conv_pool_relu(x, weight, bias).square().sum().backward()
    assert distance(slope, weight.grad) < 2e-6
