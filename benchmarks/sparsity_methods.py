"""The methods of results/sparsity.md: how each makes a net of k numbers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize, prune

from benchmarks.sparsity_storage import NATIVE, NUMBERS, dense_bytes, seeded_bytes, sparse_bytes
from subspace_bench import Subspace, models
from subspace_bench.models.layers import ConvPoolRelu, sequential

PLAIN = "no penalty, largest k"
L1, L2 = "L1 penalty, largest k", "L2 penalty, largest k"
PRUNED, L1_PRUNED = "pruned while it trains", "L1 penalty, pruned while it trains"
LOW_RANK = "low rank"
SHARED = "shared weights"
SUBSPACE, FASTFOOD = "subspace, hashed P", "subspace, Fastfood P"
NARROW, SMALL = "narrower net", "3×3 convolutions"

NARROW_WIDTHS = {300: (1, 2, 4), 1_000: (2, 4, 9), 3_000: (4, 7, 17), 10_000: (7, 13, 34)}
PRUNING_STARTS, PRUNING_ENDS = 0.25, 0.65  # shares of a training
SMALL_WIDTHS = {
    300: (3, 3, 4),
    1_000: (6, 7, 7),
    3_000: (12, 12, 13),
    10_000: (22, 23, 23),
    NATIVE: (34, 34, 34),
}


def plain(k: int, seed: int) -> nn.Module:
    """The post's conv net without dropout, all D parameters trained."""
    return models.build("conv-plain")


def subspace(projector: str) -> Callable[[int, int], nn.Module]:
    """The net in a subspace of k dimensions around its initial parameters."""
    return lambda k, seed: Subspace(plain(k, seed), k, projector, seed)


def shared(k: int, seed: int) -> nn.Module:
    """Weight sharing after HashedNets (Chen et al. 2015): θ_i = ±ω_c(i) / √fan-in.

    It is the hashed subspace around θ₀ = 0. ω starts uniform in ±1, so each parameter starts as by
    PyTorch's rule, up to the rounding of D/k. Unlike in HashedNets, all layers share one set of
    numbers, and each number is used equally often.
    """
    net = plain(k, seed)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.zero_()
    wrapped = Subspace(net, k, "hashed", seed)
    nn.init.uniform_(wrapped.omega, -1, 1)
    return wrapped


class Product(nn.Module):
    """A weight, as a matrix (out, rest), is U V with r columns in U.

    It starts at the best approximation of the initial weight, scaled to its norm.
    """

    def __init__(self, shape: torch.Size, rank: int) -> None:
        super().__init__()
        self.shape, self.rank = shape, rank

    def forward(self, u: Tensor, v: Tensor) -> Tensor:
        return (u @ v).reshape(self.shape)

    def right_inverse(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        u, s, v = torch.linalg.svd(weight.flatten(1), full_matrices=False)
        kept = s[: self.rank] * (s.norm() / s[: self.rank].norm())
        root = kept.sqrt()
        return u[:, : self.rank] * root, root[:, None] * v[: self.rank]


def low_rank(k: int, seed: int) -> nn.Module:
    """The net with each weight a product of two matrices, where that saves numbers."""
    net = plain(k, seed)
    layers = layers_of(net)
    for layer, rank in zip(layers, ranks([matrix(layer) for layer in layers], k), strict=True):
        weight = layer.weight
        assert isinstance(weight, Tensor)
        if rank is not None:
            product = Product(weight.shape, rank)
            parametrize.register_parametrization(layer, "weight", product)
    return net


def layers_of(net: nn.Module) -> list[nn.Module]:
    """The layers with a weight."""
    return [layer for layer in net.modules() if isinstance(layer, (ConvPoolRelu, nn.Linear))]


def matrix(layer: nn.Module) -> tuple[int, int]:
    """Rows and columns of a layer's weight."""
    assert isinstance(layer.weight, Tensor)
    return layer.weight.shape[0], layer.weight[0].numel()


def ranks(shapes: Sequence[tuple[int, int]], k: int) -> list[int | None]:
    """Ranks that make at most k numbers with the biases; None where the whole weight is no larger.

    From rank 1 on, the layer with the smallest part of its full rank gains one, while one fits.

    Raises:
        ValueError: if rank 1 is too much.
    """
    found: list[int | None] = [1] * len(shapes)

    def size(layer: int, rank: int | None) -> int:
        rows, columns = shapes[layer]
        return rows * columns if rank is None else rank * (rows + columns)

    def next_rank(layer: int) -> int | None:
        rank = (found[layer] or 0) + 1
        return rank if size(layer, rank) < size(layer, None) else None

    left = k - sum(rows for rows, _ in shapes) - sum(size(i, 1) for i in range(len(shapes)))
    if left < 0:
        raise ValueError(f"rank 1 needs {-left} numbers more than {k}")
    while True:
        growing = [
            (rank / min(shapes[i]), i, cost)
            for i, rank in enumerate(found)
            if rank is not None and (cost := size(i, next_rank(i)) - size(i, rank)) <= left
        ]
        if not growing:
            return found
        _, layer, cost = min(growing)
        found[layer] = next_rank(layer)
        left -= cost


def narrow(k: int, seed: int) -> nn.Module:
    """The layout of the post's net, with all widths reduced about alike."""
    first, second, dense = NARROW_WIDTHS[k]
    return sequential(
        conv1=ConvPoolRelu(1, first, 5), conv2=ConvPoolRelu(first, second, 5),
        flatten=nn.Flatten(), fc1=nn.Linear(16 * second, dense), relu=nn.ReLU(),
        fc2=nn.Linear(dense, 10),
    )  # fmt: skip


def small(k: int, seed: int) -> nn.Module:
    """Three convolutions 3×3, two with pooling; then the mean over the map, and one dense layer."""
    first, second, third = SMALL_WIDTHS[k]
    return sequential(
        conv1=ConvPoolRelu(1, first, 3), conv2=ConvPoolRelu(first, second, 3),
        conv3=nn.Conv2d(second, third, 3), relu=nn.ReLU(), mean=nn.AdaptiveAvgPool2d(1),
        flatten=nn.Flatten(), fc=nn.Linear(third, 10),
    )  # fmt: skip


def weights_of(net: nn.Module) -> list[tuple[nn.Module, str]]:
    """All parameters, as `prune` names them."""
    return [(layer, name) for layer in layers_of(net) for name in ("weight", "bias")]


def remaining(net: nn.Module) -> int:
    """Weights that pruning has left; all parameters, if none was pruned."""
    masks = [mask for name, mask in net.named_buffers() if name.endswith("_mask")]
    return int(sum(mask.sum() for mask in masks)) if masks else models.parameter_count(net)


def prune_to(net: nn.Module, k: int) -> None:
    """Removes the smallest weights of all layers together until k remain."""
    excess = remaining(net) - k
    if excess > 0:
        prune.global_unstructured(weights_of(net), prune.L1Unstructured, amount=excess)


def kept_while_training(done: float, k: int) -> int:
    """How many weights remain when a part `done` of the training is over.

    Cubic from D at PRUNING_STARTS to k at PRUNING_ENDS (Zhu and Gupta 2017, equation 1); the rest
    is fine-tuning.
    """
    part = min(max((done - PRUNING_STARTS) / (PRUNING_ENDS - PRUNING_STARTS), 0.0), 1.0)
    return k + round((NATIVE - k) * (1 - part) ** 3)


def keep_largest(net: nn.Module, k: int) -> None:
    """Sets all parameters but the k largest to zero."""
    theta = nn.utils.parameters_to_vector(net.parameters()).detach()
    sparse = torch.zeros_like(theta)
    kept = theta.abs().topk(k).indices
    sparse[kept] = theta[kept]
    nn.utils.vector_to_parameters(sparse, net.parameters())


@dataclass(frozen=True)
class Method:
    """A way to a net of k numbers.

    Attributes:
        build: (k, seed) → the net to train.
        storage: numbers → bytes.
        sizes: the k that it can have and that do not just give the plain net.
        rates: peak rates that are tried first; none: those of the plain net serve.
        penalties: weights of its penalty.
        penalty_times_k: weight of an L1 penalty until PRUNING_ENDS, times k.
        pruned: whether weights are removed while it trains.
        thresholded: whether one training gives the nets of all sizes, by `keep_largest`.
    """

    build: Callable[[int, int], nn.Module]
    storage: Callable[[int], int] = dense_bytes
    sizes: tuple[int, ...] = NUMBERS
    rates: tuple[float, ...] = ()
    penalties: tuple[float, ...] = (0.0,)
    penalty_times_k: float = 0.0
    pruned: bool = False
    thresholded: bool = False

    @property
    def sparse(self) -> bool:
        """Whether it must store which weights remain."""
        return self.storage is sparse_bytes


DIRECT, OMEGA = (0.002, 0.004, 0.008), (0.1, 0.2, 0.4)  # of weights, and of ω
FEWER = NUMBERS[:-1]
L1_FACTORS = (1e-5, 1e-4, 3e-4, 1e-3, 3e-3, 5e-3, 1e-2)
L2_FACTORS = (1e-5, 1e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-1, 1.0)
METHODS = {
    PLAIN: Method(plain, sparse_bytes, rates=DIRECT, thresholded=True),
    L1: Method(plain, sparse_bytes, penalties=L1_FACTORS, thresholded=True),
    L2: Method(plain, sparse_bytes, penalties=L2_FACTORS, thresholded=True),
    PRUNED: Method(plain, sparse_bytes, FEWER, (0.004, 0.008, 0.016), pruned=True),
    L1_PRUNED: Method(
        plain, sparse_bytes, FEWER, (0.004, 0.008, 0.016), penalty_times_k=0.3, pruned=True
    ),
    LOW_RANK: Method(low_rank, dense_bytes, FEWER[1:], (0.01, 0.02, 0.04)),
    SHARED: Method(shared, seeded_bytes, NUMBERS, (0.2, 0.4, 0.8)),
    SUBSPACE: Method(subspace("hashed"), seeded_bytes, NUMBERS, OMEGA),
    FASTFOOD: Method(subspace("fastfood"), seeded_bytes, NUMBERS, OMEGA),
    NARROW: Method(narrow, dense_bytes, FEWER, (0.01, 0.02, 0.04)),
    SMALL: Method(small, dense_bytes, NUMBERS, (0.02, 0.04, 0.08)),
}
