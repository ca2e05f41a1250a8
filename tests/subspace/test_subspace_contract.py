"""Uses of a Subspace that need more than one module: threads, compilation, DDP, vmap."""

from __future__ import annotations

import inspect
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import Tensor
from wrapped_modules import MODULES, Encoder, inputs, plain_gradient, wrapped

from subspace_bench import projectors


def test_the_origin_never_trains() -> None:
    net = wrapped(Encoder)
    net.requires_grad_(False)
    net.requires_grad_(True)
    assert [name for name, p in net.named_parameters() if p.requires_grad] == ["omega"]
    for p in net.module.parameters():
        p.requires_grad = True
    optimizer = torch.optim.AdamW(net.parameters(), 0.1, weight_decay=0.5)
    origin = [p.detach().clone() for p in net.module.parameters()]
    net(inputs()).sum().backward()
    optimizer.step()
    assert all(p.grad is None for p in net.module.parameters())
    for before, p in zip(origin, net.module.parameters(), strict=True):
        assert torch.equal(before, p)


@pytest.mark.parametrize("projector", projectors.names())
def test_p_is_nobodys_state(projector: str) -> None:
    net = wrapped(MODULES["mlp"], projector)
    assert not list(net.buffers())
    before = net.projector(torch.ones(5))
    average = torch.optim.swa_utils.AveragedModel(net, use_buffers=True)
    for value in (1.0, 2.0):
        with torch.no_grad():
            net.omega.fill_(value)
        average.update_parameters(net)
    assert torch.equal(average.module.projector(torch.ones(5)), before)
    torch.testing.assert_close(average.module.omega, torch.full((5,), 1.5))
    net.bfloat16().float()
    assert torch.equal(net.projector(torch.ones(5)), before)


def test_vmap_runs_over_many_omega() -> None:
    net = wrapped(MODULES["mlp"])
    x = inputs().detach()

    def loss(omega: Tensor) -> Tensor:
        return torch.func.functional_call(net, {"omega": omega}, (x,)).square().sum()

    many = torch.stack([net.omega.detach(), torch.zeros(5)])
    together = torch.func.vmap(loss)(many)
    torch.testing.assert_close(together, torch.stack([loss(omega) for omega in many]))
    torch.testing.assert_close(net(x).square().sum(), loss(net.omega.detach()))


def test_threads_share_it() -> None:
    net = wrapped(MODULES["mlp"])
    expected = net(inputs()).detach()
    with ThreadPoolExecutor(8) as pool:
        output = list(pool.map(lambda _: net(inputs()).detach(), range(400)))
    assert all(torch.equal(each, expected) for each in output)


def test_the_signature_of_forward_is_the_modules() -> None:
    net = wrapped(Encoder)
    assert list(inspect.signature(net.forward).parameters) == ["x"]


@pytest.mark.filterwarnings("ignore:The .grad attribute")  # dynamo's, of inputs that are no leaves
@pytest.mark.parametrize("name", ["mlp", "encoder", "tied"])
def test_it_compiles(name: str) -> None:
    net = wrapped(MODULES[name])
    compiled = torch.compile(net, backend="aot_eager")
    for _ in range(2):
        expected, gradient = plain_gradient(net, lambda module: module(inputs()))
        net.omega.grad = None
        output = compiled(inputs())
        torch.testing.assert_close(output, expected)
        output.square().sum().backward()
        torch.testing.assert_close(net.omega.grad, gradient, rtol=1e-4, atol=1e-5)
        with torch.no_grad():
            net.omega.add_(0.1)


@pytest.mark.filterwarnings("ignore:The .grad attribute")
def test_compiled_methods_follow_omega() -> None:
    net = wrapped(Encoder)
    encode = torch.compile(net.module.encode, backend="eager")
    for _ in range(3):
        for grad in (True, False):
            with torch.set_grad_enabled(grad):
                torch.testing.assert_close(encode(inputs()), net.merge().encode(inputs()))
                net.omega.data.add_(0.1)


def test_it_runs_in_ddp_and_sends_omega_alone(tmp_path) -> None:
    from torch import distributed
    from torch.nn.parallel import DistributedDataParallel

    distributed.init_process_group("gloo", f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        net = wrapped(MODULES["mlp"])
        _, gradient = plain_gradient(net, lambda module: module(inputs()))
        parallel = DistributedDataParallel(net)
        assert not list(parallel.buffers())  # nothing is broadcast at a step
        parallel(inputs()).square().sum().backward()
        torch.testing.assert_close(net.omega.grad, gradient, rtol=1e-4, atol=1e-5)
    finally:
        distributed.destroy_process_group()


def test_a_piece_cannot_be_replaced() -> None:
    net = wrapped(MODULES["mlp"])
    with pytest.raises(TypeError):  # nn.Module's own
        net.module[0].weight = torch.zeros(8, 6)
