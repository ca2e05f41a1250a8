"""The net that sharded_checks.py shards."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.device_mesh import DeviceMesh
from torch.distributed.fsdp import fully_shard


class Net(nn.Module):
    """19,000 parameters: an embedding with padding, tied layers, more ranks than rows, a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.words = nn.Embedding(11, 30, padding_idx=2)
        self.one = nn.Linear(30, 300)
        self.norm = nn.LayerNorm(300)
        self.two = nn.Linear(300, 30)
        self.tied = nn.Linear(30, 30, bias=False)
        self.again = nn.Linear(30, 30, bias=False)
        self.again.weight = self.tied.weight
        self.out = nn.Linear(30, 3)
        self.frozen = nn.Parameter(torch.ones(5), requires_grad=False)

    def forward(self, tokens: Tensor) -> Tensor:
        x = self.norm(self.one(self.words(tokens).mean(1)))
        return self.frozen.mean() * self.out(self.again(self.tied(self.two(x.tanh())).tanh()))


def plain(seed: int = 0) -> Net:
    torch.manual_seed(seed)
    return Net()


def sharded(mesh: DeviceMesh, seed: int = 0, **kwargs: Any) -> nn.Module:
    module = plain(seed)
    fully_shard(module.two, mesh=mesh, **kwargs)
    return fully_shard(module, mesh=mesh, **kwargs)
