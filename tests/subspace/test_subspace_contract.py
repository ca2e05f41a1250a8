"""What a plain module does, a Subspace does at θ: modules × projectors × uses."""

from __future__ import annotations

import copy
import inspect
import io
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune
from torch.utils.checkpoint import checkpoint

from subspace_bench import projectors
from subspace_bench.common.errors import UserError
from subspace_bench.subspace import Subspace

Build = Callable[[], nn.Module]


class Encoder(nn.Module):
    """Has a method beside forward, and reads its own parameters for dtype and device."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Linear(6, 6)
        self.scale = nn.Parameter(torch.ones(6))

    def encode(self, x: Tensor) -> Tensor:
        return torch.tanh(self.body(x.to(next(self.parameters()).dtype))) * self.scale

    def forward(self, x: Tensor) -> Tensor:
        return self.encode(x) @ self.body.weight


class Checkpointed(nn.Module):
    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.reentrant = reentrant
        self.one, self.two = nn.Linear(6, 6), nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        inner = checkpoint(
            lambda h: torch.tanh(self.two(torch.tanh(h))), x, use_reentrant=self.reentrant
        )
        return self.two(inner)


class Tied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(6, 6, bias=False), nn.Linear(6, 6, bias=False)
        self.decoder.weight = self.encoder.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.decoder(torch.tanh(self.encoder(x)))


class Containers(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.many = nn.ParameterList([torch.randn(6, 6), torch.randn(6)])
        self.named = nn.ParameterDict({"a": torch.randn(6)})

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(x @ self.many[0] + self.many[1]) * self.named["a"]


class Recurrent(nn.Module):
    def __init__(self, kind: type[nn.Module]) -> None:
        super().__init__()
        self.cell = kind(6, 5, num_layers=2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(x[:, None].expand(-1, 3, -1))[0]


class Attention(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.0, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x[:, None].expand(-1, 3, -1))


class Tokens(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(7, 6, padding_idx=2)
        self.bag = nn.EmbeddingBag(7, 6, padding_idx=1)
        self.head = nn.Linear(6, 2)

    def forward(self, x: Tensor) -> Tensor:
        ids = (x[:, :3].abs() * 3).long() % 7
        return self.head(self.table(ids).sum(1) + self.bag(ids))


def repeated() -> nn.Module:
    layer = nn.Linear(6, 6)
    return nn.Sequential(layer, nn.Tanh(), layer, nn.Tanh(), *[layer] * 2)


def images() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 4, 2, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
        nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(48, 3), nn.LayerNorm(3),
    )  # fmt: skip


def hooked(wrap: Callable[[nn.Linear], nn.Module]) -> nn.Module:
    return nn.Sequential(wrap(nn.Linear(6, 6)), nn.Tanh(), nn.Linear(6, 2))


def old_weight_norm(layer: nn.Linear) -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return nn.utils.weight_norm(layer)


MODULES: dict[str, Build] = {
    "mlp": lambda: nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3)),
    "conv": images,
    "encoder": Encoder,
    "checkpoint reentrant": lambda: Checkpointed(True),
    "checkpoint": lambda: Checkpointed(False),
    "tied": Tied,
    "repeated": repeated,
    "containers": Containers,
    "lstm": lambda: Recurrent(nn.LSTM),
    "gru": lambda: Recurrent(nn.GRU),
    "attention": Attention,
    "embedding": Tokens,
    "weight norm, hook": lambda: hooked(old_weight_norm),
    "spectral norm, hook": lambda: hooked(lambda layer: nn.utils.spectral_norm(layer).eval()),
    "weight norm": lambda: hooked(parametrizations.weight_norm),
    "prune": lambda: hooked(lambda layer: prune.random_unstructured(layer, "weight", 0.3)),
}


def inputs() -> Tensor:
    return torch.randn(5, 6, generator=torch.Generator().manual_seed(1)).requires_grad_()


def wrapped(build: Build, projector: str = "hashed", **options: Any) -> Subspace:
    """A Subspace with ω ≠ 0, in evaluation mode, where all modules are deterministic."""
    torch.manual_seed(0)
    net = Subspace(build(), 5, projector, seed=3, **options).eval()
    with torch.no_grad():
        net.omega.copy_(torch.randn(5, generator=torch.Generator().manual_seed(2)))
    return net


def plain_gradient(net: Subspace, run: Callable[[nn.Module], Tensor]) -> tuple[Tensor, Tensor]:
    """(what the plain module at θ returns, Pᵀ of its gradient)."""
    plain = net.merge()
    output = run(plain)
    output.square().sum().backward()
    parameters = [p for p in plain.parameters() if p.requires_grad]
    flat = torch.cat([
        (torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in parameters
    ])  # fmt: skip
    return output.detach(), net.projector.transpose(flat)


@pytest.mark.filterwarnings("ignore:None of the inputs have requires_grad")  # torch's checkpoint
@pytest.mark.parametrize("name", MODULES)
def test_forward_and_gradient_are_the_plain_modules_at_theta(name: str) -> None:
    net = wrapped(MODULES[name])
    expected, gradient = plain_gradient(net, lambda module: module(inputs()))
    for _ in range(2):  # accumulated: the pieces of θ serve both
        output = net(inputs())
        torch.testing.assert_close(output, expected)
        output.square().sum().backward()
    torch.testing.assert_close(net.omega.grad, 2 * gradient, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        torch.testing.assert_close(net(inputs()), expected)
    with torch.inference_mode():
        torch.testing.assert_close(net(inputs()), expected)
    torch.testing.assert_close(net(inputs()), expected)


@pytest.mark.parametrize("projector", projectors.names())
@pytest.mark.parametrize("name", ["checkpoint reentrant", "encoder"])
def test_every_projector(name: str, projector: str) -> None:
    net = wrapped(MODULES[name], projector)
    expected, gradient = plain_gradient(net, lambda module: module(inputs()))
    output = net(inputs())
    torch.testing.assert_close(output, expected)
    output.square().sum().backward()
    torch.testing.assert_close(net.omega.grad, gradient, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", MODULES)
def test_training_moves_it_as_gradient_descent_on_omega(name: str) -> None:
    net = wrapped(MODULES[name])
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    for _ in range(3):
        before = net.omega.detach().clone()
        _, gradient = plain_gradient(net, lambda module: module(inputs()))
        optimizer.zero_grad()
        net(inputs()).square().sum().backward()
        optimizer.step()
        torch.testing.assert_close(net.omega, before - 0.01 * gradient, rtol=1e-4, atol=1e-5)


def test_other_methods_run_at_theta_with_gradients() -> None:
    net = wrapped(Encoder)
    expected, gradient = plain_gradient(net, lambda module: module.encode(inputs()))
    output = net.module.encode(inputs())
    torch.testing.assert_close(output, expected)
    output.square().sum().backward()
    torch.testing.assert_close(net.omega.grad, gradient, rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        net.omega.add_(1.0)
    torch.testing.assert_close(net.module.encode(inputs()), net.merge().encode(inputs()))
    net.omega.data.add_(1.0)  # which leaves no trace in its version
    torch.testing.assert_close(net.module.encode(inputs()), net.merge().encode(inputs()))


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


def test_the_row_of_padding_stays() -> None:
    net = wrapped(Tokens)
    merged = net.merge()
    assert not merged.table.weight[2].any()
    assert torch.equal(merged.bag.weight[1], net.module.bag._parameters["weight"][1])
    assert merged.table.weight[3].ne(net.module.table._parameters["weight"][3]).any()


@pytest.mark.parametrize("name", [*MODULES])
def test_copies_and_files_give_the_same_net(name: str) -> None:
    net = wrapped(MODULES[name])
    net(inputs())
    expected = net(inputs()).detach()
    others = [copy.deepcopy(net)]
    if name != "weight norm":  # of parametrized modules torch saves the state alone
        file = io.BytesIO()
        torch.save(net, file)
        file.seek(0)
        others.append(torch.load(file, weights_only=False))
    for other in others:
        torch.testing.assert_close(other(inputs()), expected)
        with torch.no_grad():
            other.omega.zero_()
        torch.testing.assert_close(net(inputs()), expected)
        assert not torch.equal(other(inputs()), expected)


@pytest.mark.parametrize("name", MODULES)
def test_state_dicts_hold_tensors_and_bring_it_back(name: str) -> None:
    net = wrapped(MODULES[name])
    saved = net.state_dict()
    assert all(isinstance(value, Tensor) for value in saved.values())
    moved = {key: value.cpu().clone() for key, value in saved.items()}
    torch.manual_seed(9)
    for assign in (False, True):
        again = Subspace(MODULES[name](), 5, "hashed", seed=3).eval()
        again.load_state_dict(moved, assign=assign)
        torch.testing.assert_close(again(inputs()), net(inputs()))


def test_it_is_built_on_meta_and_filled() -> None:
    net = wrapped(MODULES["mlp"])
    with torch.device("meta"):
        empty = Subspace(MODULES["mlp"](), 5, "hashed", seed=3)
    empty = empty.to_empty(device="cpu").eval()
    empty.load_state_dict(net.state_dict())
    torch.testing.assert_close(empty(inputs()), net(inputs()))
    with torch.device("meta"):
        assigned = Subspace(MODULES["mlp"](), 5, "hashed", seed=3).eval()
    assigned.load_state_dict(net.state_dict(), assign=True)
    torch.testing.assert_close(assigned(inputs()), net(inputs()))


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


def test_functional_transforms_act_on_omega() -> None:
    net = wrapped(MODULES["mlp"])
    x = inputs().detach()

    def loss(omega: Tensor) -> Tensor:
        return torch.func.functional_call(net, {"omega": omega}, (x,)).square().sum()

    net(x).square().sum().backward()
    torch.testing.assert_close(torch.func.grad(loss)(net.omega.detach()), net.omega.grad)
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


def mixed() -> nn.Module:
    return nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).double())


def scripted() -> nn.Module:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.jit.script(nn.Linear(2, 2))


REFUSED: dict[str, tuple[Build, str]] = {
    "mixed dtypes": (mixed, "dtype"),
    "scripted": (scripted, "scripted"),
    "sparse gradients": (lambda: nn.Embedding(5, 2, sparse=True), "sparse=False"),
    "lazy": (lambda: nn.LazyLinear(3), "lazy"),
    "nothing to train": (lambda: nn.Linear(2, 2).requires_grad_(False), "trainable"),
}


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.filterwarnings("ignore:Lazy modules")
def test_what_cannot_work_is_refused_when_it_is_built(name: str) -> None:
    build, reason = REFUSED[name]
    with pytest.raises(UserError, match=reason):
        Subspace(build(), 2)


def test_a_module_belongs_to_one_subspace() -> None:
    shared = nn.Linear(6, 6)
    first = Subspace(nn.Sequential(shared, nn.Tanh()), 3)
    for other in (first.module, nn.Sequential(shared, nn.Linear(6, 2))):
        with pytest.raises(UserError, match="another Subspace"):
            Subspace(other, 3)
    again = Subspace(first.merge(), 3)  # at θ: trained on from there
    torch.testing.assert_close(again(inputs()), first(inputs()))


def test_a_piece_cannot_be_replaced() -> None:
    net = wrapped(MODULES["mlp"])
    with pytest.raises(TypeError):  # nn.Module's own
        net.module[0].weight = torch.zeros(8, 6)
