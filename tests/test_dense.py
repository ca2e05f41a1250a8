"""Products with a stored P: the kernels against torch, in both ways to store it."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from subspace_bench.kernels import dense
from subspace_bench.projectors import make


@pytest.mark.parametrize(
    "native, dim", [(1, 1), (15, 3), (16, 8), (2048, 9), (5000, 37), (40_003, 9)]
)
def test_kernels_equal_torch(native, dim) -> None:
    draw = torch.Generator().manual_seed(0)
    columns, omega, theta = (
        torch.randn(*s, generator=draw) for s in ((dim, native), (1, dim), (1, native))
    )
    bits = columns.bfloat16()
    for stored, entries in [
        (columns, columns.numpy()), (bits.float(), bits.view(torch.int16).numpy().view(np.uint16)),
    ]:  # fmt: skip
        exact = stored.double()
        torch.testing.assert_close(
            dense.project(entries, omega).double(), omega.double() @ exact, rtol=1e-5, atol=1e-4
        )
        torch.testing.assert_close(
            dense.adjoint(entries, theta).double(), theta.double() @ exact.T, rtol=1e-5, atol=1e-3
        )


@pytest.mark.parametrize("name", ["gaussian", "gaussian-bf16"])
@pytest.mark.parametrize("native", [9000, 40_003])
def test_bits_do_not_depend_on_threads(name, native) -> None:
    projector = make(name, native, 70, seed=0)
    omega, theta = torch.randn(70), torch.randn(native)
    before = projector(omega), projector.transpose(theta)
    torch.set_num_threads(3)
    for ours, other in zip((projector(omega), projector.transpose(theta)), before, strict=True):
        assert torch.equal(ours, other)


def test_bfloat16_rounds_the_gaussian_entries_and_survives_a_change_of_dtype() -> None:
    full, half = (make(name, 500, 20, seed=3) for name in ("gaussian", "gaussian-bf16"))
    unit = torch.eye(20)
    assert torch.equal(half(unit), full(unit).bfloat16().float())
    assert torch.equal(half.double()(unit), full(unit).bfloat16().float())
    assert half.nbytes == full.nbytes / 2
