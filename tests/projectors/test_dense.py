"""Products with a stored P: the kernels against torch, in both ways to store it."""

from __future__ import annotations

import pytest
import torch
from vectors import normal

from subspace_bench.kernels.cpu import dense
from subspace_bench.projectors import make
from subspace_bench.projectors.dense import CONVERTED, FEW, column_blocks


@pytest.mark.parametrize(
    "native, dim", [(1, 1), (15, 3), (16, 8), (2048, 9), (5000, 37), (40_003, 9)]
)
def test_kernels_equal_torch(native, dim) -> None:
    columns, omega, theta = normal(dim, native), normal(3, dim, seed=1), normal(3, native, seed=2)
    bits = columns.bfloat16()
    for stored, entries in [(columns, columns), (bits, bits.view(torch.int16))]:
        exact = stored.double()
        torch.testing.assert_close(
            dense.project(entries, omega).double(), omega.double() @ exact, rtol=1e-5, atol=1e-4
        )
        torch.testing.assert_close(
            dense.adjoint(entries, theta).double(), theta.double() @ exact.T, rtol=1e-5, atol=1e-3
        )


def test_bfloat16_rounds_the_gaussian_entries_and_survives_a_change_of_dtype() -> None:
    full, half = (make(name, 500, 20, seed=3) for name in ("gaussian", "gaussian-bf16"))
    unit = torch.eye(20)
    assert torch.equal(half(unit), full(unit).bfloat16().float())
    assert torch.equal(half.double()(unit), full(unit).bfloat16().float())
    assert half.nbytes == full.nbytes / 2


def test_batches_that_are_widened_are_those_of_the_kernel() -> None:
    projector = make("gaussian-bf16", 3000, 40, seed=0)
    for act, size in ((projector.forward, 40), (projector.transpose, 3000)):
        batch = normal(20, size)
        one_by_one = torch.stack([act(row) for row in batch])
        assert torch.equal(act(batch[:8]), one_by_one[:8])
        torch.testing.assert_close(act(batch), one_by_one, rtol=1e-5, atol=1e-5)


def test_one_float32_vector_takes_the_kernels_and_everything_else_torch() -> None:
    full, half = (make(name, 60, 4, seed=0) for name in ("gaussian", "gaussian-bf16"))
    taken = [(rows, full._kernels(normal(rows, 4)) is dense) for rows in (1, 2)]
    assert taken == [(1, True), (2, False)]
    batches = [normal(rows, 4) for rows in (1, FEW, FEW + 1)]
    assert [half._kernels(batch) is dense for batch in batches] == [True, True, False]
    assert full._kernels(normal(1, 4).double()) is None


def test_blocks_of_columns_cover_all_and_stay_small() -> None:
    for native, dim in [(1, 5), (CONVERTED // 2, 5), (CONVERTED + 1, 3)]:
        blocks = column_blocks(native, dim)
        assert [j for block in blocks for j in range(dim)[block]] == list(range(dim))
        assert all((b.stop - b.start) * native <= max(native, CONVERTED) for b in blocks)
