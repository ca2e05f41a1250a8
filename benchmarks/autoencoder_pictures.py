"""Pictures of 28 × 28 pixels as short text, and a figure of rows of them."""

from __future__ import annotations

import base64
import zlib

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

SIDE = 28
GAP = 2  # white pixels between pictures
LEVELS = 32  # of grey, which compress to half of what 256 take


def encode(values: Tensor, signed: bool = False) -> str:
    """Pictures (n, 784) → base64 of compressed grey values.

    Arguments:
        signed: whether 0 is grey, and each picture's largest |value| black or white. Otherwise
            values lie between 0 and 1.
    """
    scaled = values.detach().clamp(0, 1)
    if signed:
        scaled = 0.5 + values.detach() / (2 * values.detach().abs().amax(1, keepdim=True))
    grey = ((LEVELS - 1) * scaled).round().byte().numpy()
    return base64.b64encode(zlib.compress(grey.tobytes(), 9)).decode()


def decode(text: str) -> np.ndarray:
    """The pictures (n, 28, 28) of `encode`, from 0 to 1."""
    grey = np.frombuffer(zlib.decompress(base64.b64decode(text)), np.uint8)
    return grey.reshape(-1, SIDE, SIDE) / (LEVELS - 1)


def draw(rows: dict[str, str]) -> Figure:
    """One row of pictures for each entry, under each other, with its name on the left."""
    border = ((0, 0), (GAP, 0), (GAP, 0))
    strips = [
        np.hstack(list(np.pad(decode(text), border, constant_values=1))) for text in rows.values()
    ]
    figure = Figure(figsize=(6.4, 0.56 * len(strips) + 0.2))
    axes = figure.subplots()
    axes.imshow(np.vstack(strips), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_yticks([(SIDE + GAP) * (i + 0.5) for i in range(len(rows))], list(rows))
    axes.set_xticks([])
    axes.grid(visible=False)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    return figure
