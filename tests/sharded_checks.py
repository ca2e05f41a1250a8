"""What processes do in tests/subspace/test_sharded.py: each check runs on all four ranks."""

from __future__ import annotations

import functools
import runpy
import tempfile
import traceback
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from sharded_net import plain, sharded
from torch import Tensor, nn
from torch.distributed.checkpoint import state_dict as dcp_state
from torch.distributed.device_mesh import DeviceMesh, init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import Shard
from torch.distributed.tensor.debug import CommDebugMode
from vectors import normal

from subspace_bench.common.errors import UserError
from subspace_bench.subspace import ShardedSubspace, Subspace

RANKS = 4
PROJECTORS = ("hashed", "regenerated", "regenerated-signs", "fastfood", "fastfood-layers")
DIM = 90
CHECKS: dict[str, Callable[[], None]] = {}


def whole_theta(net: ShardedSubspace) -> Tensor:
    """θ (D,) from all shards, as the module has it."""
    trained = [p for p in net.module.parameters() if p.requires_grad]
    return torch.cat([p.full_tensor().reshape(-1) for p in trained]).detach()


def tokens(count: int = 8) -> Tensor:
    return torch.randint(0, 11, (count, 6), generator=torch.Generator().manual_seed(1))


def loss(net: nn.Module, batch: Tensor) -> Tensor:
    return net(batch).square().mean()


def shared_backward(net: ShardedSubspace, mesh: DeviceMesh) -> None:
    """Backward of the mean loss, each rank with its part of the batch."""
    loss(net, tokens().chunk(mesh.size())[mesh.get_local_rank()]).backward()


@functools.cache
def meshes() -> dict[str, DeviceMesh]:
    flat = init_device_mesh("cpu", (4, 1), mesh_dim_names=("a", "b"))
    square = init_device_mesh("cpu", (2, 2), mesh_dim_names=("replicas", "shards"))
    return {"1": flat["b"], "2": square["shards"], "4": flat["a"], "2 x 2": square}


def check(run: Callable[..., None], **kwargs: Any) -> None:
    label = " ".join([run.__name__, *map(str, kwargs.values())])
    CHECKS[label] = functools.partial(run, **kwargs)


def same_theta(projector: str, ranks: str) -> None:
    net = ShardedSubspace(sharded(meshes()[ranks]), DIM, projector, seed=4)
    one = Subspace(plain(), DIM, projector, seed=4)
    with torch.no_grad():
        for each in (net, one):
            each.omega.copy_(normal(DIM))
    net.write_theta()
    assert torch.equal(whole_theta(net), one.theta())


def same_gradient(projector: str, ranks: str) -> None:
    mesh = meshes()[ranks]
    net = ShardedSubspace(sharded(mesh), DIM, projector, seed=4)
    one = Subspace(plain(), DIM, projector, seed=4)
    with torch.no_grad():
        for each in (net, one):
            each.omega.copy_(0.1 * normal(DIM))
    loss(one, tokens()).backward()
    for times in (1, 2):  # gradients accumulate
        if mesh.ndim == 1:
            shared_backward(net, mesh)
        else:
            loss(net, tokens().chunk(RANKS)[dist.get_rank()]).backward()
        error = (net.omega.grad - times * one.omega.grad).norm() / one.omega.grad.norm()
        assert error <= 1e-5 * times, error
    assert all(p.grad is None for p in net.module.parameters())


for ranks in ("1", "2", "4", "2 x 2"):
    for projector in PROJECTORS if ranks == "4" else ("hashed", "fastfood"):
        check(same_theta, projector=projector, ranks=ranks)
        check(same_gradient, projector=projector, ranks=ranks)


def without_scaling_in_float64() -> None:
    module = fully_shard(plain().double(), mesh=meshes()["4"])
    net = ShardedSubspace(module, DIM, seed=4, scaling="none")
    one = Subspace(plain().double(), DIM, seed=4, scaling="none")
    with torch.no_grad():
        for each in (net, one):
            each.omega.copy_(normal(DIM))
    shared_backward(net, meshes()["4"])
    loss(one, tokens()).backward()
    assert torch.equal(whole_theta(net), one.theta())
    torch.testing.assert_close(net.omega.grad, one.omega.grad, rtol=1e-10, atol=1e-12)


def same_training() -> None:
    mesh = meshes()["4"]
    net, one = ShardedSubspace(sharded(mesh), DIM), Subspace(plain(), DIM)
    both = [(net, torch.optim.Adam(net.parameters(), lr=0.05, weight_decay=0.1)),
            (one, torch.optim.Adam(one.parameters(), lr=0.05, weight_decay=0.1))]  # fmt: skip
    for _ in range(5):
        for each, optimizer in both:
            optimizer.zero_grad()
            if each is net:
                shared_backward(net, mesh)
            else:
                loss(one, tokens()).backward()
            optimizer.step()
    omegas = [torch.empty(DIM) for _ in range(RANKS)]
    dist.all_gather(omegas, net.omega.detach())
    assert all(torch.equal(omega, omegas[0]) for omega in omegas)
    torch.testing.assert_close(net.omega, one.omega, rtol=0, atol=1e-3)
    assert loss(net, tokens()) < 0.9 * loss(Subspace(plain(), DIM), tokens())


def memory_falls_as_one_over_the_ranks() -> None:
    for ranks in (1, 2, 4):
        net = ShardedSubspace(sharded(meshes()[str(ranks)]), DIM, "fastfood")
        native = net.projector.native
        shards = sum(p.to_local().numel() for p in net.module.parameters() if p.requires_grad)
        origins = sum(len(shard.origin) for shard in net._shards)
        assert shards == origins <= native / ranks + 1000  # rounding of 11 parameters up
        assert net.projector.nbytes == 0


def traffic_is_that_of_the_module_and_one_sum() -> None:
    module, count = sharded(meshes()["4"]), CommDebugMode
    loss(module, tokens()).backward()  # what FSDP prepares at its first use
    with count() as before:
        loss(module, tokens()).backward()
    module.zero_grad()
    net = ShardedSubspace(module, DIM)
    with torch.no_grad():
        net.omega.add_(1)
    with count() as after:
        loss(net, tokens()).backward()
    extra = {str(k): n - before.get_comm_counts().get(k, 0)
             for k, n in after.get_comm_counts().items()}  # fmt: skip
    assert sum(before.get_comm_counts().values()) >= 5, before.get_comm_counts()
    assert {k: n for k, n in extra.items() if n} == {"c10d.allreduce_": 1}, extra


def theta_follows_omega_in_evaluation() -> None:
    net = ShardedSubspace(sharded(meshes()["4"]), DIM)
    one = Subspace(plain(), DIM)
    with torch.no_grad():
        for _ in range(2):  # FSDP keeps what it gathered until a backward
            for each in (net, one):
                each.omega.add_(0.5)
            torch.testing.assert_close(net(tokens()), one(tokens()))


def unsynchronised_backward_waits_for_the_last() -> None:
    mesh = meshes()["4"]
    net, one = ShardedSubspace(sharded(mesh), DIM), Subspace(plain(), DIM)
    net.module.set_requires_gradient_sync(False)
    shared_backward(net, mesh)
    assert net.omega.grad is None
    net.module.set_requires_gradient_sync(True)
    shared_backward(net, mesh)
    (2 * loss(one, tokens())).backward()
    torch.testing.assert_close(net.omega.grad, one.omega.grad, rtol=1e-4, atol=1e-6)


def an_interrupted_backward_leaves_nothing_behind() -> None:
    mesh = meshes()["4"]
    net = ShardedSubspace(sharded(mesh), DIM)
    shared_backward(net, mesh)
    right = net.omega.grad.clone()
    net._sum.add_(1.0)  # as after an exception between two shards
    net._reducing = True
    net.omega.grad = None
    shared_backward(net, mesh)
    assert torch.equal(net.omega.grad, right)


def states() -> None:
    """From four ranks to two and to one, by DCP's files and as gathered tensors."""
    net = ShardedSubspace(sharded(meshes()["4"]), DIM, seed=4)
    one = Subspace(plain(), DIM, seed=4)
    with torch.no_grad():
        for each in (net, one):
            each.omega.copy_(normal(DIM))
    net(tokens())
    assert net.state_dict().keys() == one.state_dict().keys()
    full = dcp_state.StateDictOptions(full_state_dict=True)
    gathered = dcp_state.get_model_state_dict(net, options=full)
    loaded = Subspace(plain(seed=1), DIM, seed=4)
    loaded.load_state_dict(gathered)
    assert torch.equal(loaded.theta(), one.theta())
    folder = [tempfile.mkdtemp() if dist.get_rank() == 0 else ""]
    dist.broadcast_object_list(folder)
    dcp.save(dcp_state.get_model_state_dict(net), checkpoint_id=folder[0])
    for ranks in ("2", "4"):
        again = ShardedSubspace(sharded(meshes()[ranks], seed=1), DIM, seed=4)
        again(tokens())
        saved = dcp_state.get_model_state_dict(again)
        dcp.load(saved, checkpoint_id=folder[0])
        again.load_state_dict(saved)
        again.write_theta()
        assert torch.equal(whole_theta(again), one.theta())
    fresh = ShardedSubspace(sharded(meshes()["4"], seed=1), DIM, seed=4)
    dcp_state.set_model_state_dict(fresh, one.state_dict(), options=full)
    fresh.write_theta()
    assert torch.equal(whole_theta(fresh), one.theta())
    before = whole_theta(fresh)
    fresh.load_state_dict({"omega": torch.zeros(DIM)}, strict=False)
    fresh.load_state_dict({"omega": one.omega}, strict=False)  # without θ₀, which stays
    fresh.write_theta()
    assert torch.equal(whole_theta(fresh), before)
    other = ShardedSubspace(sharded(meshes()["4"]), DIM, seed=5)
    refused(lambda: other.load_state_dict(net.state_dict()))


def refused(run: Callable[[], object]) -> None:
    try:
        run()
    except UserError:
        return
    raise AssertionError("not refused")


def what_cannot_work_is_refused() -> None:
    mesh = meshes()["4"]
    refused(lambda: ShardedSubspace(plain(), DIM))
    refused(lambda: Subspace(sharded(mesh), DIM))
    refused(lambda: ShardedSubspace(sharded(mesh), DIM, "sparse"))
    refused(lambda: ShardedSubspace(sharded(mesh), 10**6))
    net = plain()
    refused(lambda: ShardedSubspace(fully_shard(net, mesh=mesh, ignored_params={net.out.bias}), 3))
    columns = nn.Linear(8, 8, bias=False)
    fully_shard(columns, mesh=mesh, shard_placement_fn=lambda p: Shard(1))
    refused(lambda: ShardedSubspace(columns, 3))
    parts = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    fully_shard(parts[0], mesh=meshes()["2"])
    refused(lambda: ShardedSubspace(fully_shard(parts, mesh=mesh), 3))
    with torch.device("meta"):
        empty = nn.Linear(8, 8)
    refused(lambda: ShardedSubspace(fully_shard(empty, mesh=mesh), 3))
    net = ShardedSubspace(sharded(mesh), DIM)
    net.write_theta()
    refused(lambda: net.double())
    with torch.no_grad():
        net.module.out.weight.mul_(2)
    refused(lambda: net(tokens()))


def the_example_trains() -> None:
    path = Path(__file__).parents[1] / "examples" / "sharded.py"
    losses = runpy.run_path(str(path))["main"](steps=12)
    assert sum(losses[-3:]) < 0.95 * sum(losses[:3]), losses


for run in (
    without_scaling_in_float64, same_training, memory_falls_as_one_over_the_ranks,
    traffic_is_that_of_the_module_and_one_sum, theta_follows_omega_in_evaluation,
    unsynchronised_backward_waits_for_the_last, an_interrupted_backward_leaves_nothing_behind,
    states, the_example_trains, what_cannot_work_is_refused,
):  # fmt: skip
    check(run)


def run_all(rank: int, store: str, out: str) -> None:
    """Runs all checks as one of the ranks, and writes what failed."""
    torch.set_num_threads(1)
    dist.init_process_group(
        "gloo", f"file://{store}", timedelta(seconds=120), world_size=RANKS, rank=rank
    )
    failures = {}
    for name, run in CHECKS.items():
        try:
            run()
        except Exception:
            failures[name] = traceback.format_exc()
    torch.save(failures, Path(out) / f"{rank}.pt")
    dist.destroy_process_group()
