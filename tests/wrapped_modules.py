"""Modules of all kinds to wrap in a Subspace, and the gradient of the plain module at θ."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize, prune
from torch.utils.checkpoint import checkpoint

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


class Mixed(nn.Module):
    """Scalars, empty and transposed parameters, buffers, keyword arguments, a dict as output."""

    def __init__(self) -> None:
        super().__init__()
        self.scale, self.empty = nn.Parameter(torch.tensor(0.7)), nn.Parameter(torch.zeros(0, 3))
        self.weight = nn.Parameter(torch.randn(3, 6).t())
        self.register_buffer("shift", torch.randn(3))
        self.register_buffer("hidden", torch.ones(3), persistent=False)

    def run(self, x: Tensor, *, factor: float = 1.0) -> dict[str, Tensor]:
        return {"y": factor * self.scale * (x @ self.weight) + self.empty.sum() + self.shift}

    def forward(self, x: Tensor) -> Tensor:
        return torch.tanh(self.run(x, factor=2.0)["y"]) + self.hidden


class Shared(nn.Module):
    """One layer that is a child of two modules, and one frozen layer."""

    def __init__(self) -> None:
        super().__init__()
        layer = nn.Linear(6, 6)
        self.branches = nn.ModuleDict({
            "a": nn.Sequential(layer, nn.Tanh()), "b": nn.Sequential(nn.Linear(6, 6), layer)
        })  # fmt: skip
        self.frozen = nn.Linear(6, 2).requires_grad_(False)

    def forward(self, x: Tensor) -> Tensor:
        return self.frozen(self.branches["a"](x) * self.branches["b"](x))


class Symmetric(nn.Module):
    def forward(self, weight: Tensor) -> Tensor:
        return weight.triu() + weight.triu(1).mT


def symmetric(layer: nn.Linear) -> nn.Module:
    parametrize.register_parametrization(layer, "weight", Symmetric())
    return layer


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Bilinear(2, 4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x[:, :2], x[:, 2:])


class Decoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(6, 2, kdim=4, vdim=3, add_bias_kv=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.attention(x, x[:, :4], x[:, :3])[0]


class Cell(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.cell = nn.LSTMCell(6, 4)

    def forward(self, x: Tensor) -> Tensor:
        return self.cell(x, self.cell(x))[0]


def repeated() -> nn.Module:
    layer = nn.Linear(6, 6)
    return nn.Sequential(layer, nn.Tanh(), layer, nn.Tanh(), *[layer] * 2)


def images() -> nn.Module:
    return nn.Sequential(
        nn.Unflatten(1, (1, 2, 3)), nn.Conv2d(1, 4, 2, padding=1), nn.BatchNorm2d(4), nn.ReLU(),
        nn.GroupNorm(2, 4), nn.Flatten(), nn.LayerNorm(48), nn.Linear(48, 3),
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
    "batch norm": lambda: nn.Sequential(nn.Linear(6, 4), nn.BatchNorm1d(4), nn.Linear(4, 2)),
    "dropout": lambda: nn.Sequential(nn.Linear(6, 8), nn.PReLU(), nn.Dropout(), nn.Linear(8, 2)),
    "transposed convolution": lambda: nn.Sequential(
        nn.Unflatten(1, (2, 3)),
        nn.ConvTranspose1d(2, 3, 2),
        nn.InstanceNorm1d(3),
        nn.Conv1d(3, 2, 2),
    ),
    "channels last": lambda: images().to(memory_format=torch.channels_last),
    "parameters of all shapes": Mixed,
    "shared and frozen": Shared,
    "bilinear": TwoInputs,
    "cross-attention": Decoder,
    "rnn": lambda: Recurrent(nn.RNN),
    "lstm cell": Cell,
    "spectral norm": lambda: hooked(lambda layer: parametrizations.spectral_norm(layer).eval()),
    "parametrized": lambda: hooked(symmetric),
    "prune": lambda: hooked(lambda layer: prune.random_unstructured(layer, "weight", 0.3)),
}


def inputs() -> Tensor:
    return torch.randn(5, 6, generator=torch.Generator().manual_seed(1)).requires_grad_()


def wrapped(build: Build, projector: str = "hashed", **options: Any) -> Subspace:
    """A Subspace with ω ≠ 0, in evaluation mode, where all modules are deterministic."""
    torch.default_generator.manual_seed(0)  # ten times as fast as torch.manual_seed
    net = Subspace(build(), 5, projector, seed=3, **options).eval()
    with torch.no_grad():
        net.omega.copy_(torch.randn(5, generator=torch.Generator().manual_seed(2)))
    return net


def plain_at_theta(build: Build, net: Subspace) -> nn.Module:
    """A module built like that of `wrapped`, never in a Subspace, with θ₀ + Pω written into it."""
    torch.default_generator.manual_seed(0)
    module = build().eval()
    padding = {
        part.weight: (part.padding_idx, part.weight[part.padding_idx].detach().clone())
        for part in module.modules()
        if isinstance(part, (nn.Embedding, nn.EmbeddingBag)) and part.padding_idx is not None
    }
    moves = net.projector(net.omega.detach())
    with torch.no_grad():
        for p in module.parameters():
            if p.requires_grad:
                p += moves[: p.numel()].view(p.shape)
                moves = moves[p.numel() :]
        for weight, (row, values) in padding.items():
            weight[row] = values
    return module


def plain_gradient(net: Subspace, run: Callable[[nn.Module], Tensor]) -> tuple[Tensor, Tensor]:
    """(what the plain module at θ returns, Pᵀ of its gradient)."""
    plain = net.merge()
    output = run(plain)
    output.square().sum().backward()
    return output.detach(), net.projector.transpose(flat_gradient(plain))


def flat_gradient(module: nn.Module) -> Tensor:
    """The gradient of a module's trainable parameters as one vector."""
    parameters = [p for p in module.parameters() if p.requires_grad]
    return torch.cat([
        (torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1) for p in parameters
    ])  # fmt: skip
