"""The nets by name: `build` makes one of MODELS. To add a net, add an entry to MODELS.

All nets take (N, 1, 28, 28) float32 images and return (N, 10) logits.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import nn

from subspace_bench.common.validation import require_choice
from subspace_bench.models import mnist_lite, post
from subspace_bench.models.tutorials import TUTORIALS

MODELS: dict[str, Callable[[], nn.Module]] = {
    "conv": post.conv,  # 21,840 parameters
    "conv-plain": partial(post.conv, dropout=0.0),  # not a net of the post; has no plateau
    "fc": post.fc,  # 199,210
    "mlp-16": partial(mnist_lite.mlp, 16),  # 12,730
    "mlp-32": partial(mnist_lite.mlp, 32),  # 25,450
    "cnn-3369": partial(mnist_lite.cnn, 6, 6, 25),
    "cnn-10754": partial(mnist_lite.cnn, 8, 16, 32),
    **TUTORIALS,
}


def build(name: str) -> nn.Module:
    """A new net of MODELS, on the CPU, in training mode, with PyTorch's default parameters.

    Raises:
        UserError: if MODELS lacks the name.
    """
    require_choice("model", [name], MODELS)
    return MODELS[name]()


def parameter_count(module: nn.Module) -> int:
    """The native dimension D; a parameter that layers share counts once."""
    return sum(parameter.numel() for parameter in module.parameters())
