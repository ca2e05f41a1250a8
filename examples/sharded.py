"""Trains a model that FSDP2 has sharded over processes in a random subspace, and saves it.

    torchrun --nproc-per-node 2 examples/sharded.py

No process ever has the whole model, θ₀ or P, until the state is gathered at the end: it is that of
a `Subspace` on one process.
"""

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict
from torch.distributed.fsdp import fully_shard

from subspace_bench import ShardedSubspace, Subspace

BLOCKS, WIDTH = 4, 64


def plain() -> nn.Module:
    blocks = [nn.Sequential(nn.Linear(WIDTH, WIDTH), nn.Tanh()) for _ in range(BLOCKS)]
    return nn.Sequential(*blocks, nn.Linear(WIDTH, 1))


def sharded(mesh: dist.DeviceMesh) -> nn.Module:
    with torch.device("meta"):
        model = plain()
    for block in model:
        fully_shard(block, mesh=mesh)
    fully_shard(model, mesh=mesh)
    model.to_empty(device=mesh.device_type)  # memory for this rank's shards
    torch.manual_seed(dist.get_rank())
    for p in model.parameters():
        nn.init.uniform_(p.to_local(), -(WIDTH**-0.5), WIDTH**-0.5)
    return model


def main(dim: int = 500, steps: int = 40) -> list[float]:
    """Learns the sign of one input; returns the mean losses of all ranks."""
    mesh = dist.init_device_mesh("cpu", (dist.get_world_size(),))
    net = ShardedSubspace(sharded(mesh), dim)
    optimizer = torch.optim.Adam([net.omega], lr=0.05)
    random = torch.Generator().manual_seed(dist.get_rank())  # each rank has its own data
    losses = []
    for _ in range(steps):
        x = torch.randn(64, WIDTH, generator=random)
        optimizer.zero_grad()
        loss = (net(x)[:, 0] - x[:, 0].sign()).square().mean()
        loss.backward()
        optimizer.step()
        mean = loss.detach().clone()
        dist.all_reduce(mean)
        losses.append(mean.item() / dist.get_world_size())
    # Gathered on one rank; torch.distributed.checkpoint saves shards without gathering them.
    options = StateDictOptions(full_state_dict=True, cpu_offload=True)
    state = get_model_state_dict(net, options=options)
    if dist.get_rank() == 0:
        alone = Subspace(plain(), dim)
        alone.load_state_dict(state)
        print(f"D = {alone.projector.native:,}, d = {dim}: loss {losses[0]:.2f} → {losses[-1]:.2f}")
    return losses


if __name__ == "__main__":
    dist.init_process_group("gloo")
    main()
    dist.destroy_process_group()
