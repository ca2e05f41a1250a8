"""The cases to time: a projector at a size (D, d), and the grid of sizes.

A `TimingCase` and a machine determine one measurement.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from subspace_bench import models, projectors
from subspace_bench.common.errors import UserError
from subspace_bench.projectors import Footprint, Projector

NATIVE = {
    21_840: "the post's conv net",
    44_426: "LeNet of Li et al.",
    199_210: "the post's FC net",
    11_173_962: "ResNet-18 for CIFAR-10",
    86_567_656: "ViT-B/16",
    1_000_000_000: "10⁹",
}
DIMS = (10, 100, 1_000, 10_000, 100_000)
ASV_SIZES = ((21_840, 1_000), (199_210, 100))  # (D, d) that asv times on every commit
LAYERED_MODELS = {21_840: "conv", 199_210: "fc"}  # D → the model whose layers a projector may use
DTYPES = ("float32", "float64", "bfloat16", "float16")


@dataclass(frozen=True)
class TimingCase:
    """A projector, its size, its device and the dtype of ω and θ."""

    projector: str
    native: int
    dim: int
    device: str = "cpu"
    dtype: str = "float32"

    @property
    def torch_dtype(self) -> torch.dtype:
        dtype: torch.dtype = getattr(torch, self.dtype)
        return dtype

    @property
    def footprint(self) -> Footprint:
        """The predicted memory of the projector.

        Raises:
            UserError: if the projector cannot be loaded or predicts no memory.
        """
        # On CUDA some projectors run in plain PyTorch, which needs the workspace of float64.
        dtype = torch.float64 if self.device == "cuda" else self.torch_dtype
        layers = layer_sizes(self.native)
        return projectors.footprint(self.projector, self.native, self.dim, dtype, layers)

    @property
    def needed_bytes(self) -> int:
        """Bytes to make and apply the projector, with two ω and two θ; raises as `footprint`."""
        need = self.footprint
        vectors = 2 * self.torch_dtype.itemsize * (self.native + self.dim)
        return need.resident_bytes + need.workspace_bytes + vectors

    @property
    def label(self) -> str:
        return f"{self.projector} {self.native:,} × {self.dim:,}"

    def make(self) -> Projector:
        """The projector, on its device."""
        layers = layer_sizes(self.native)
        projector = projectors.make(self.projector, self.native, self.dim, seed=0, layers=layers)
        return projector.to(self.device)


@functools.cache
def layer_sizes(native: int) -> list[int] | None:
    """Parameters of each layer of the model with D = `native`; None if there is no such model."""
    if native not in LAYERED_MODELS:
        return None
    return [p.numel() for p in models.build(LAYERED_MODELS[native]).parameters()]


def grid(
    names: Sequence[str], native: Sequence[int], dims: Sequence[int], device: str, dtype: str
) -> list[TimingCase]:
    """All cases with d ≤ D, small ones first; layered projectors only where a model has that D.

    Raises:
        UserError: for a size below 1, or if no case is left.
    """
    cases = [
        TimingCase(name, n, d, device, dtype)
        for n in sorted(native)
        for d in sorted(dims)
        if d <= n
        for name in names
        if layer_sizes(n) or not _needs_layers(name)
    ]
    if min(*native, *dims) < 1 or min(dims) > max(native):
        raise UserError("nothing to measure: sizes start at 1, and d is at most D")
    if not cases:
        raise UserError(
            f"{', '.join(names)} needs the layers of a model: set --native to "
            f"{' or '.join(map(str, LAYERED_MODELS))}"
        )
    return cases


def asv_cases() -> list[TimingCase]:
    """The small cases that asv times on every commit."""
    return [TimingCase(name, *size) for size in ASV_SIZES for name in projectors.names()]


def _needs_layers(name: str) -> bool:
    try:
        return "layers" in projectors.load(name).accepts
    except UserError:  # a broken plug-in: each of its cases fails and reports the reason
        return False
