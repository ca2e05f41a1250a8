"""An example of a custom projector: the columns of P are shifts of one random vector of signs.

`pip install examples/circulant` registers it as `circulant`, by the entry point in pyproject.toml.
It then works in every command, table, test and benchmark of subspace-bench:

    subspace-bench compare --projectors circulant,gaussian --native 500 --dims 7
    pytest tests/projectors/test_projectors.py -k circulant  # the contract of projectors
"""

import torch
from torch import Tensor
from torch.nn.functional import pad

from subspace_bench.common.rng import generator
from subspace_bench.projectors import ColumnNorms, Footprint, Projector


class Circulant(Projector):
    """P_ij = s_{(i − j) mod D}/√D with random signs s: Pω is a circular convolution, done by FFT.

    Equivalent in SciPy: `scipy.linalg.circulant(s)[:, :d] / sqrt(D)`.
    """

    signs: Tensor

    def __init__(self, native: int, dim: int, seed: int) -> None:
        super().__init__(native, dim, seed)
        signs = generator(seed, "projector circulant").integers(0, 2, native, dtype="int8") * 2 - 1
        self.register_buffer("signs", torch.from_numpy(signs), persistent=False)

    @classmethod
    def footprint(cls, native: int, dim: int, itemsize: int = 4) -> Footprint:
        # The signs take one byte each; FFTs need about a dozen vectors. The predicted cost of a
        # training run follows from these (see `Projector.predicted_seconds`).
        return Footprint(resident_bytes=native, workspace_bytes=12 * itemsize * native)

    @classmethod
    def column_norms(cls, native: int, dim: int) -> ColumnNorms:
        return "unit"  # D entries of ±1/√D

    def _project(self, omega: Tensor) -> Tensor:
        padded = pad(omega, (0, self.native - self.dim))
        return torch.fft.irfft(self._spectrum(omega) * torch.fft.rfft(padded), n=self.native)

    def _adjoint(self, theta: Tensor) -> Tensor:
        product = self._spectrum(theta).conj() * torch.fft.rfft(theta)
        return torch.fft.irfft(product, n=self.native)[:, : self.dim]

    def _spectrum(self, like: Tensor) -> Tensor:
        return torch.fft.rfft(self.signs.to(like.dtype) * self.native**-0.5)
