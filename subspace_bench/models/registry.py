"""The nets by name: `build` makes one of MODELS. To add a net, add an entry to MODELS.

All nets take (N, 1, 28, 28) float32 images and return (N, 10) logits.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from subspace_bench.common.errors import UserError
from subspace_bench.models import mnist_lite, post
from subspace_bench.models.tutorials import TUTORIALS

MODELS: dict[str, Callable[[], nn.Module]] = {
    "conv": post.conv,
    "conv-plain": post.conv_plain,
    "fc": post.fc,
    "mlp-16": mnist_lite.mlp_16,
    "mlp-32": mnist_lite.mlp_32,
    "cnn-3369": mnist_lite.cnn_3369,
    "cnn-10754": mnist_lite.cnn_10754,
    **TUTORIALS,
}


def build(name: str) -> nn.Module:
    """A new net of MODELS, on the CPU, in training mode, with PyTorch's default parameters.

    Raises:
        UserError: if MODELS lacks the name.
    """
    if name not in MODELS:
        raise UserError(f"unknown model {name!r}; choose one of {', '.join(MODELS)}")
    return MODELS[name]()


def parameter_count(module: nn.Module) -> int:
    """The native dimension D; a parameter that layers share counts once."""
    return sum(parameter.numel() for parameter in module.parameters())
