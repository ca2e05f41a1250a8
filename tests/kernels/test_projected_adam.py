"""One pass over P equals torch.optim.Adam on ω."""

import pytest
import torch

from subspace_bench.kernels.cpu.projected_adam import step, step_eager

ADAM = {"lr": 3e-3, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8}
# (d, D): blocks of four that don't fill up, one column, rows that end inside a vector
SIZES = [(1, 40), (3, 100), (4, 7), (13, 1000), (130, 2005), (300, 21840), (1030, 5003)]


def problem(d, size, seed=0):
    """columns, origin, ω, and a target: the loss is ½‖θ − target‖², its gradient θ − target."""
    generator = torch.Generator().manual_seed(seed)
    columns, origin, target = (
        torch.randn(shape, generator=generator) for shape in ((d, size), (size,), (size,))
    )
    return columns / size**0.5, origin, torch.randn(d, generator=generator), target


def train(function, columns, origin, omega, target, steps=20):
    """ω, m, v, θ after some steps."""
    omega = omega.clone()
    m, v = torch.zeros_like(omega), torch.zeros_like(omega)
    theta = origin + omega @ columns
    for t in range(1, steps + 1):
        function(columns, theta - target, omega, m, v, origin, theta, **ADAM, t=t)
    return omega, m, v, theta


def distance(a, b):
    return ((a.double() - b.double()).norm() / b.double().norm()).item()


@pytest.mark.parametrize("size", SIZES, ids=str)
def test_equals_plain_torch_in_float64(size):
    args = problem(*size)
    exact = train(step_eager, *(a.double() for a in args))
    for ours, theirs in zip(train(step, *args), exact, strict=True):
        assert distance(ours, theirs) < 1e-5


@pytest.mark.parametrize("function", [step_eager, step])
def test_equals_torch_adam(function):
    columns, origin, start, target = (a.double() for a in problem(130, 2005))
    omega = start.clone().requires_grad_()
    betas = ADAM["beta1"], ADAM["beta2"]
    optimizer = torch.optim.Adam([omega], ADAM["lr"], betas, ADAM["eps"])
    for _ in range(20):
        optimizer.zero_grad()
        (0.5 * (origin + omega @ columns - target).square().sum()).backward()
        optimizer.step()
    with torch.no_grad():
        theta = origin + omega @ columns
    result = train(function, *problem(130, 2005))
    assert distance(result[0], omega.detach()) < 1e-5
    assert distance(result[3], theta) < 1e-5


@pytest.mark.parametrize("size", [(13, 1000), (130, 2005), (1030, 5003)], ids=str)
def test_same_bits_each_time_and_on_any_threads(size):
    first, again = train(step, *problem(*size)), train(step, *problem(*size))
    torch.set_num_threads(2)
    two = train(step, *problem(*size))
    for a, b, c in zip(first, again, two, strict=True):
        assert torch.equal(a, b)
        assert torch.equal(a, c)


def test_other_tensors_take_plain_torch():
    args = problem(13, 1000)
    columns = args[0].T.contiguous().T
    for ours, theirs in zip(train(step, columns, *args[1:]), train(step, *args), strict=True):
        assert distance(ours, theirs) < 1e-5
    exact = [a.double() for a in args]
    for ours, theirs in zip(train(step, *exact), train(step_eager, *exact), strict=True):
        assert torch.equal(ours, theirs)
