"""As joined-sparse; a net of the same shape with all its weights is trained first and teaches it.

Hinton et al. 2015 (arXiv 1503.02531); both see the same augmented images, as in Beyer et al. 2022
(arXiv 2106.05237). The teacher is not stored, so it does not count.
"""

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from entries.joined import augmented, convolutions, joined
from entries.oriented import Behind
from entries.packed import Sparse
from entries.penalty import l1
from entries.training import BATCH, fit

EPOCHS = 24  # of each
PEAK = 0.004
TEMPERATURE = 2.0
TEACHERS = 100  # added to the seed


class Taught(Sparse):
    """Learns a teacher's outputs instead of labels."""

    teacher: Callable[[Tensor], Tensor]

    def forward(self, x: Tensor) -> Tensor:
        logits = super().forward(x)
        if self.is_training:
            with torch.no_grad():
                wanted = F.softmax(self.teacher(x) / TEMPERATURE, 1)
            given = F.softmax(logits.detach() / TEMPERATURE, 1)
            # In place of the gradient of `fit`'s loss: that of the mean KL divergence, times T².
            logits.register_hook(lambda _: TEMPERATURE * (given - wanted) / len(x))
        return logits


def build(dim: int, seed: int) -> nn.Module:
    torch.manual_seed(seed)
    return Behind(joined, Taught(convolutions(), dim))


def train(net: nn.Module, images: Tensor, labels: Tensor, seed: int) -> None:
    assert isinstance(net, Behind)
    taught = net.inner
    assert isinstance(taught, Taught)
    torch.manual_seed(seed + TEACHERS)
    teacher = convolutions().to(images.device)
    fit(
        teacher, list(teacher.parameters()), images, labels, seed + TEACHERS,
        epochs=EPOCHS, peak=PEAK, augment=augmented,
    )  # fmt: skip
    taught.teacher = teacher.eval().forward  # no submodule, so it is not stored
    steps = EPOCHS * (len(images) // BATCH)
    taught.fit(
        images, labels, seed, epochs=EPOCHS, peak=PEAK, augment=augmented,
        after_gradient=l1(taught.net.parameters(), len(taught.packed), steps),
    )  # fmt: skip
