"""On CUDA, products do not wait for the device: shown without one, on tensors without data.

`FakeTensorMode` runs PyTorch's operations on shapes, dtypes and devices only. Reading a value, for
which the host would wait, raises there; copying from the host, which waits too, is caught here.
"""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils._python_dispatch import TorchDispatchMode

from subspace_bench.kernels.triton import availability
from subspace_bench.projectors import make
from subspace_bench.projectors.registry import BUILT_IN


class Copies(TorchDispatchMode):
    """Counts tensors that move from the host to the device."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        source = next((a for a in args if isinstance(a, torch.Tensor)), None)
        if isinstance(result, torch.Tensor) and source is not None:
            self.count += source.device.type == "cpu" and result.device.type == "cuda"
        return result


@pytest.fixture(autouse=True)
def without_triton(monkeypatch) -> None:
    monkeypatch.setattr(availability, "works", lambda: False)


@pytest.mark.parametrize("name", BUILT_IN)
def test_products_on_cuda_do_not_wait(name) -> None:
    projector = make(name, 9_000, 40, seed=0)
    with FakeTensorMode(allow_non_fake_inputs=True) as mode:
        for buffer_name, buffer in list(projector.named_buffers()):
            setattr(projector, buffer_name, mode.from_tensor(buffer).to("cuda"))
        omega, theta = torch.empty(2, 40, device="cuda"), torch.empty(2, 9_000, device="cuda")
        with Copies() as copies:
            image, back = projector(omega), projector.transpose(theta)
    assert (image.shape, back.shape) == (theta.shape, omega.shape)
    assert image.is_cuda
    assert back.is_cuda
    assert copies.count == 0


def test_waiting_is_noticed() -> None:
    with FakeTensorMode(), Copies() as copies:
        there = torch.tensor([1.0]).to("cuda")
        assert copies.count == 1
        with pytest.raises(Exception, match="_local_scalar_dense"):
            float(there.sum())
