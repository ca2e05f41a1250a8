"""Which images each step sees, as a function of (seed, step), and how pixels become numbers."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from subspace_bench.common.errors import UserError
from subspace_bench.common.rng import generator
from subspace_bench.datasets.mnist import Dataset
from subspace_bench.records.config import RunConfig, TrainingConfig


class Batches:
    """The batches of a run: call with the number of updates made so far.

    "independent" is the post's way: every batch is the first one of a freshly shuffled loader,
    that is `batch` distinct images drawn anew. "epochs" deals a permutation out.
    """

    def __init__(self, run: RunConfig, dataset: Dataset) -> None:
        keep = kept(run.protocol, len(dataset.train_labels))
        self.images = dataset.train_images[keep].to(run.device)
        self.labels = dataset.train_labels[keep].to(run.device)
        self.run, self.protocol = run, run.protocol
        self.dtype: torch.dtype = getattr(torch, run.dtype)
        n, batch = len(self.labels), run.protocol.batch
        if batch > n:
            raise UserError(f"a batch of {batch} does not fit {n} training images")
        self.per_epoch = n // batch if run.protocol.sampling == "epochs-drop" else -(-n // batch)
        self._epoch = -1
        self._order = np.empty(0, np.int64)

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """Images (B, 1, 28, 28) and labels (B,) of the step, counted from 0."""
        chosen = torch.from_numpy(self.indices(step)).to(self.images.device)
        x = self.images.index_select(0, chosen)
        return scaled(x, self.protocol.scale, self.dtype), self.labels.index_select(0, chosen)

    def indices(self, step: int) -> np.ndarray:
        """Positions of the step's images among those kept for training."""
        n, batch = len(self.labels), self.protocol.batch
        if self.protocol.sampling == "independent":
            draw = generator(self.run.seed, "batches", step)
            return draw.choice(n, batch, replace=False, shuffle=False)
        epoch, position = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = generator(self.run.seed, "batches", epoch).permutation(n)
        return self._order[position * batch : (position + 1) * batch]


def kept(protocol: TrainingConfig, n: int) -> slice:
    """The part of the n training images that the protocol trains on.

    The tutorials hold images of MNIST's 60,000 back; of fewer, the same share.
    """
    if protocol.train == "after-5000":
        return slice(n * 5_000 // 60_000, n)
    if protocol.train == "first-50000":
        return slice(0, n * 50_000 // 60_000)
    return slice(0, n)


def scaled(images: Tensor, scale: str, dtype: torch.dtype) -> Tensor:
    """uint8 (N, 28, 28) → floating (N, 1, 28, 28), scaled as the protocol says."""
    x = images.unsqueeze(1).to(dtype)
    if scale == "unit":
        return x.div_(255)
    if scale == "256":
        return x.div_(256)
    return x.div_(255).sub_(0.1307).div_(0.3081)
