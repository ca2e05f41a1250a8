"""Batches of images as a pure function of (seed, step), with scaled pixels.

batches = Batches(dataset, batch=64, seed=0, sampling="epochs")
x, y = batches(step)
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from subspace_bench.common.errors import UserError
from subspace_bench.common.rng import generator
from subspace_bench.datasets.dataset import Dataset


class Batches:
    """The batches of a training run: call it with the number of updates so far.

    Arguments:
        batch: images in a batch.
        sampling: "independent": each batch is a fresh draw of distinct images, like the first batch
            of a newly shuffled loader (as in the post); "epochs": consecutive parts of a
            permutation; "epochs-drop": the same without a partial last batch.
        scale: see `scale_pixels`.
        train: see `training_slice`.

    Raises:
        UserError: if `batch` exceeds the number of training images.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch: int,
        seed: int = 0,
        sampling: str = "independent",
        scale: str = "unit",
        train: str = "all",
        device: str = "cpu",
        dtype: torch.dtype = torch.float32,
    ) -> None:
        part = training_slice(train, len(dataset.train_labels))
        self.images = dataset.train_images[part].to(device)
        self.labels = dataset.train_labels[part].to(device)
        self.batch, self.seed, self.sampling = batch, seed, sampling
        self.scale, self.dtype = scale, dtype
        n = len(self.labels)
        if batch > n:
            raise UserError(
                f"a batch of {batch} exceeds the {n} training images: choose a smaller one"
            )
        self.per_epoch = n // batch if sampling == "epochs-drop" else -(-n // batch)
        self._epoch = -1
        self._order = np.empty(0, np.int64)

    def __call__(self, step: int) -> tuple[Tensor, Tensor]:
        """Images (B, 1, 28, 28) and labels (B,) of the step, counted from 0."""
        return self.take(self.indices(step))

    def take(self, indices: np.ndarray) -> tuple[Tensor, Tensor]:
        """Images and labels at these positions of the training part."""
        chosen = torch.from_numpy(indices)
        if self.images.is_cuda:  # from memory that is not pinned, the copy waits for the device
            chosen = chosen.pin_memory().to(self.images.device, non_blocking=True)
        x = self.images.index_select(0, chosen)
        return scale_pixels(x, self.scale, self.dtype), self.labels.index_select(0, chosen)

    def indices(self, step: int) -> np.ndarray:
        """Positions of the step's images within the training part."""
        n = len(self.labels)
        if self.sampling == "independent":
            rng = generator(self.seed, "batches", step)
            return rng.choice(n, self.batch, replace=False, shuffle=False)
        epoch, position = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._epoch = epoch
            self._order = generator(self.seed, "batches", epoch).permutation(n)
        return self._order[position * self.batch : (position + 1) * self.batch]


def training_slice(train: str, n: int) -> slice:
    """The part of n training images to train on: "all", "after-5000" or "first-50000".

    The numbers refer to MNIST's 60,000 images; for smaller datasets the same fraction is held out.
    """
    if train == "after-5000":
        return slice(n * 5_000 // 60_000, n)
    if train == "first-50000":
        return slice(0, n * 50_000 // 60_000)
    return slice(0, n)


def scale_pixels(images: Tensor, scale: str, dtype: torch.dtype) -> Tensor:
    """uint8 (N, 28, 28) → floating (N, 1, 28, 28).

    Scales: "unit" x/255; "256" x/256; "standard" (x/255 − 0.1307)/0.3081.
    """
    x = images.unsqueeze(1).to(dtype)
    if scale == "unit":
        return x.div_(255)
    if scale == "256":
        return x.div_(256)
    return x.div_(255).sub_(0.1307).div_(0.3081)
