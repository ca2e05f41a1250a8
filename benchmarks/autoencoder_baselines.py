"""Images that the autoencoder is scored on, their noise, and reconstructions without a net."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import mse_loss

from benchmarks.held_out import pixels
from subspace_bench.common.errors import UserError
from subspace_bench.datasets.loading import load
from subspace_bench.datasets.locate import locate

NOISE_MEAN, NOISE_VARIANCE = 1 / 2, 1 / 12  # of the uniform distribution on 0 … 1
RANKS = (1, 3, 12, 100)  # PCA of about 1,000, 3,000 and 10,000 numbers, and of the net's width
PIXELS = 784

Images = tuple[Tensor, Tensor]  # (n, 784): without noise, with noise


def noisy(images: Tensor, seed: int = 0) -> Tensor:
    """Images plus uniform noise from 0 to 1, always the same for images of the same shape."""
    generator = torch.Generator().manual_seed(seed)
    return images + torch.rand(images.shape, generator=generator)


def other_images(test: Tensor) -> dict[str, Images]:
    """The images of each column of errors: test images, turned by 90°, and Fashion-MNIST's.

    Fashion-MNIST is left out where its files are missing: it is not downloaded.
    """
    kinds = {"error": test, "rotated": test.view(-1, 28, 28).rot90(1, (1, 2)).flatten(1)}
    try:
        folder = locate("fashion-mnist")
    except UserError:  # the folder in SUBSPACE_BENCH_DATA has MNIST only
        folder = None
    if folder is not None:
        kinds["fashion"] = pixels(load("fashion-mnist").test_images)
    return {name: (images, noisy(images)) for name, images in kinds.items()}


def baselines(train: Tensor, scored: dict[str, Images]) -> dict[str, dict[str, float]]:
    """Mean squared errors per pixel without a net, and how many numbers each way has.

    One grey value: the mean pixel of the training images, everywhere.

    PCA is the best linear denoiser of its rank: the leading eigenvectors v of the covariance of
    the training images, the component along v multiplied by λ / (λ + variance of the noise).
    """
    mean = train.mean(0)
    values, vectors = torch.linalg.eigh(torch.cov(train.double().T, correction=0))
    grey = train.mean()
    found = {
        "one grey value": {"numbers": 1.0}
        | {
            kind: round(float((images - grey).square().mean()), 7)
            for kind, (images, _) in scored.items()
        }
    }
    for rank in (0, *RANKS):
        basis = vectors[:, len(values) - rank :]
        shrinking = values[len(values) - rank :]
        shrinking = shrinking / (shrinking + NOISE_VARIANCE)
        linear = ((basis * shrinking) @ basis.T).float()
        name = f"PCA, {rank} component{'s' * (rank > 1)}" if rank else "mean image"
        found[name] = {"numbers": float(PIXELS + rank * (PIXELS + 1))} | {
            kind: round(float(mse_loss(mean + (inputs - NOISE_MEAN - mean) @ linear, images)), 7)
            for kind, (images, inputs) in scored.items()
        }
    return found
