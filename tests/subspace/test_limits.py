"""Every line of the limits in docs/subspace.md."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations, prune
from wrapped_modules import MODULES, inputs, wrapped

from subspace_bench.common.errors import UserError
from subspace_bench.subspace import Subspace

PAGE = Path(__file__).parents[2] / "docs" / "subspace.md"
LIMITS: dict[str, Callable[[], None]] = {}
x = inputs().detach()


def limit(line: str) -> Callable[[Callable[[], None]], Callable[[], None]]:
    def add(check: Callable[[], None]) -> Callable[[], None]:
        LIMITS[line] = check
        return check

    return add


def refuses(line: str, run: Callable[[], object], *kinds: type[Exception]) -> None:
    """A line whose use raises a UserError, or one of these."""

    def check() -> None:
        with pytest.raises(kinds or UserError):
            run()

    limit(line)(check)


def mlp() -> Subspace:
    return wrapped(MODULES["mlp"])


def at_moved_omega(net: Subspace) -> torch.Tensor:
    with torch.no_grad():
        net.omega.add_(1.0)
    return net(x).detach()


refuses("lazy modules", lambda: Subspace(nn.LazyLinear(3), 2))
refuses("scripted modules", lambda: Subspace(torch.jit.script(nn.Linear(2, 2)), 2))
refuses(
    "parameters of several dtypes or devices",
    lambda: Subspace(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2).double()), 2),
)
refuses("complex parameters", lambda: Subspace(nn.Linear(2, 2, dtype=torch.complex64), 2))
refuses(
    "sparse gradients of embeddings",
    lambda: Subspace(nn.Embedding(5, 2, sparse=True), 2),
)
refuses("embeddings with `max_norm`", lambda: Subspace(nn.EmbeddingBag(5, 2, max_norm=1.0), 2))


@limit("a module that is, or is in, another Subspace")
def _nested() -> None:
    net = mlp()
    for module in (net, net.module, nn.Sequential(net, nn.Linear(3, 2)), net.module[0]):
        with pytest.raises(UserError):
            Subspace(module, 2)
    torch.testing.assert_close(Subspace(net.merge(), 2)(x), net(x))


@limit("`torch.jit.trace` and `torch.export` of `net`")
def _export() -> None:
    with pytest.raises(UserError):
        torch.export.export(mlp(), (x,))
    with pytest.raises(UserError), torch.no_grad():
        torch.jit.trace(mlp(), x)
    exported = torch.export.export(mlp().merge(), (x,)).module()
    torch.testing.assert_close(exported(x), mlp()(x))


refuses("`torch.jit.script` of `net`", lambda: torch.jit.script(mlp()), ValueError, RuntimeError)


@limit("`functional_call(net.module, …)`")
def _functional_call() -> None:
    net = mlp()
    zeros = {name: torch.zeros_like(p) for name, p in net.module.named_parameters()}
    with pytest.raises(UserError):
        torch.func.functional_call(net.module, zeros, (x,))
    with pytest.raises(UserError):
        torch.func.functional_call(net.module, dict(MODULES["mlp"]().named_parameters()), (x,))
    at_origin = torch.func.functional_call(net, {"omega": torch.zeros(5)}, (x,))
    assert not torch.equal(at_origin, net(x))


refuses("`DataParallel` on several GPUs", lambda: mlp()._replicate_for_data_parallel())


@limit("`fully_shard` of a Subspace, or a Subspace of a sharded module")
def _fsdp() -> None:
    from torch import distributed
    from torch.distributed.fsdp import fully_shard

    store = distributed.HashStore()
    distributed.init_process_group("gloo", store=store, rank=0, world_size=1)
    try:
        mesh = distributed.device_mesh.init_device_mesh("cpu", (1,))
        with pytest.raises(UserError):
            fully_shard(mlp(), mesh=mesh)(x)
        with pytest.raises(UserError):
            Subspace(fully_shard(nn.Linear(2, 2), mesh=mesh), 2)
    finally:
        distributed.destroy_process_group()


refuses("`net.generate`, `net.config`", lambda: mlp().append, AttributeError)
refuses("`net.module.to(device)`", lambda: mlp().module.to("meta")(x), RuntimeError)


@limit("`nn.init` and other writes in place to `net.module.fc.weight`")
def _in_place() -> None:
    net = mlp()

    def write(how: Callable[[], object]) -> None:
        how()
        net(x)

    for how in (net.module[0].reset_parameters, lambda: net.module[0].weight.zero_()):
        with torch.no_grad():
            before = net(x)
            with pytest.raises(UserError):
                write(how)
            assert torch.equal(net(x), before)
    net(x)  # with a graph, in which torch refuses some writes itself
    with pytest.raises((UserError, RuntimeError)):
        write(lambda: nn.init.zeros_(net.module[0].weight))
    net.module.load_state_dict({key: value + 1 for key, value in net.module.state_dict().items()})
    assert not torch.equal(net(x), before)


@limit("writes through `net.module.fc.weight.data`")
def _data() -> None:
    net, untouched = mlp(), mlp()
    net(x)
    net.module[0].weight.data.zero_()
    assert torch.equal(at_moved_omega(net), at_moved_omega(untouched))


@limit("weight norm, pruning or parametrizations added or removed after wrapping")
def _parametrized() -> None:
    def change(net: Subspace, how: Callable[[nn.Module], object]) -> None:
        how(net.module[0])
        net(x)

    for name, how in (
        ("mlp", parametrizations.weight_norm),
        ("mlp", nn.utils.weight_norm),
        ("mlp", lambda layer: prune.random_unstructured(layer, "weight", 0.5)),
        ("weight norm, hook", nn.utils.remove_weight_norm),
        ("prune", lambda layer: prune.remove(layer, "weight")),
    ):
        with pytest.raises((UserError, TypeError, KeyError, RuntimeError)):
            change(wrapped(MODULES[name]), how)


@limit("freezing a layer after wrapping")
def _freezing() -> None:
    net = mlp()
    before = net.module[0].weight.detach().clone()
    net.module[0].requires_grad_(False)
    at_moved_omega(net)
    assert not torch.equal(net.module[0].weight, before)


@limit("layers added or replaced after wrapping")
def _layers() -> None:
    net = mlp()
    net.module.append(nn.Linear(3, 2))
    trainable = [name for name, p in net.named_parameters() if p.requires_grad]
    assert trainable == ["omega", "module.3.weight", "module.3.bias"]
    torch.testing.assert_close(net.merge()(x), net(x))


@limit("an optimizer built before wrapping, or from `net.module.parameters()`")
def _optimizers() -> None:
    module = MODULES["mlp"]()
    early = torch.optim.SGD(module.parameters(), 0.1)
    net = Subspace(module, 5, "hashed")
    before = net(x).detach()
    net(x).sum().backward()
    for optimizer in (early, torch.optim.SGD(net.module.parameters(), 0.1)):
        with pytest.warns(UserWarning, match="trains nothing"):
            optimizer.step()
    assert torch.equal(net(x), before)


@limit("`parameters()`, `state_dict()` and `save_pretrained()` of `net.module`")
def _origin() -> None:
    net = mlp()
    plain = MODULES["mlp"]()
    plain.load_state_dict(net.module.state_dict())
    with torch.no_grad():
        net.omega.zero_()
    torch.testing.assert_close(plain(x), net(x))


@limit("a forward or a penalty that loops over `parameters()`")
def _loop() -> None:
    net = mlp()
    assert not sum(p.square().sum() for p in net.module.parameters()).requires_grad
    net.theta().square().sum().backward()
    assert net.omega.grad.any()


@limit("`copy.deepcopy(net.module)`")
def _deepcopy() -> None:
    net = mlp()
    copied = copy.deepcopy(net.module)
    torch.testing.assert_close(copied(x), net(x))
    assert not [p for p in copied.parameters() if p.requires_grad]


@limit("`net.module.fc.weight.grad`")
def _grad() -> None:
    net = mlp()
    net(x).sum().backward()
    with pytest.warns(UserWarning, match="not a leaf"):
        assert net.module[0].weight.grad is None
    weight = net.module[0].weight
    weight.retain_grad()
    net(x).sum().backward()
    assert weight.grad is not None


@limit("`type(part) is nn.Linear`")
def _type() -> None:
    part = mlp().module[0]
    assert type(part) is not nn.Linear
    assert isinstance(part, nn.Linear)


@limit("`channels_last` weights")
def _channels_last() -> None:
    net = wrapped(MODULES["channels last"])
    assert net.module[1].weight.is_contiguous()


@pytest.mark.filterwarnings("ignore:Lazy modules", "ignore:`?torch.jit", "ignore:.*weight_norm")
@pytest.mark.parametrize("line", LIMITS)
def test_limit(line: str) -> None:
    LIMITS[line]()


def test_the_page_lists_them_all() -> None:
    table = PAGE.read_text().split("## Limits")[1].splitlines()
    lines = [row.split(" | ")[0].removeprefix("| ") for row in table if row.startswith("| ")]
    assert lines[1:] == list(LIMITS)
