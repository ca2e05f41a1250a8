"""Rows of a projector made alone: those of P to the bit, and their adjoints add up to Pᵀ."""

from __future__ import annotations

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from vectors import normal

from subspace_bench.common.errors import UserError
from subspace_bench.projectors import ProjectorByRows, Rows, load, make, make_by_rows, names, rows

BY_ROWS = [name for name in names() if issubclass(load(name), ProjectorByRows)]
# Beside blocks: 4,096 or more rows of hashed, 512 of regenerated, 256 or more of fastfood.
sizes = st.integers(1, 9000).flatmap(lambda native: st.tuples(
    st.just(native), st.integers(1, min(native, 700)), st.sets(st.integers(1, native), max_size=4),
))  # fmt: skip


def cut(name, native, dim, layers=None, cuts=()):
    """P as a whole, and in rows between the cuts."""
    whole = make(name, native, dim, 3, layers=layers)
    by_rows = make_by_rows(name, native, dim, 3, layers)
    ends = sorted({0, *cuts, native})
    return whole, [Rows(by_rows, a, b) for a, b in itertools.pairwise(ends)]


@pytest.mark.parametrize("name", BY_ROWS)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(sizes, st.integers(1, 2), st.data())
def test_rows_are_those_of_the_whole_and_adjoints_add_up(name, size, count, data) -> None:
    native, dim, cuts = size
    first = data.draw(st.integers(0, native))
    whole, parts = cut(name, native, dim, [first, native - first], cuts)
    omega, theta = normal(count, dim), normal(count, native, seed=1)
    assert torch.equal(torch.cat([part(omega) for part in parts], -1), whole(omega))
    pieces = torch.split(theta, [part.native for part in parts], -1)
    total = sum(part.transpose(piece) for part, piece in zip(parts, pieces, strict=True))
    exact = whole.transpose(theta.double())
    assert (total - exact).abs().max() <= 2e-6 * theta.norm() * whole(omega).norm() / omega.norm()


@pytest.mark.parametrize("name", BY_ROWS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_other_dtypes_and_small_chunks(name, dtype, monkeypatch) -> None:
    monkeypatch.setattr(rows, "_CHUNK", 600)
    whole, parts = cut(name, 9000, 70, cuts=(1, 4000, 4095, 8192))
    omega, theta = normal(70).to(dtype), normal(9000, seed=1).to(dtype)
    close = {"rtol": 0, "atol": 1e-6 if dtype is torch.float64 else 0}  # normals: 2 float32 ulp
    torch.testing.assert_close(torch.cat([part(omega) for part in parts]), whole(omega), **close)
    pieces = torch.split(theta, [part.native for part in parts])
    back = sum(part.transpose(piece) for part, piece in zip(parts, pieces, strict=True))
    atol = 1e-6 if dtype is torch.float64 else 5e-2
    torch.testing.assert_close(back, whole.transpose(theta), rtol=0, atol=atol)


def test_rows_are_differentiable() -> None:
    part = Rows(make_by_rows("hashed", 5000, 40, 0), 4000, 4010)  # fewer rows than columns
    omega, theta = normal(40).requires_grad_(), normal(10)
    (gradient,) = torch.autograd.grad(part(omega) @ theta, omega)
    assert torch.equal(gradient, part.transpose(theta))


@pytest.mark.parametrize("name", BY_ROWS)
def test_a_map_by_rows_keeps_nothing_that_grows_with_the_rows(name) -> None:
    small, large = (make_by_rows(name, native, 50, 0) for native in (1 << 18, 1 << 22))
    assert small.nbytes == large.nbytes == 0


def test_others_are_refused_before_they_take_memory() -> None:
    for name in set(names()) - set(BY_ROWS):
        with pytest.raises(UserError, match="hashed"):
            make_by_rows(name, 1 << 40, 1000, 0)
