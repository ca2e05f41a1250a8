"""What projectors refuse, and what they accept: no vectors at all, integers of any type."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from subspace_bench.common.errors import UserError
from subspace_bench.projectors import make, names
from subspace_bench.projectors.base import DTYPES, require_sizes
from subspace_bench.projectors.operation import without_tf32

NAMES = names()


@pytest.mark.parametrize("name", NAMES)
def test_vectors_that_do_not_fit_are_refused(name) -> None:
    projector = make(name, 40, 6, seed=0)
    with pytest.raises(UserError):
        projector(torch.ones(7))
    with pytest.raises(UserError):
        projector.transpose(torch.ones(6))
    for dtype in (torch.int64, torch.bool, torch.complex64, torch.float8_e5m2):
        with pytest.raises(UserError):
            projector(torch.zeros(6).to(dtype))
        with pytest.raises(UserError):
            projector.transpose(torch.zeros(40).to(dtype))
    with pytest.raises(UserError):
        projector(torch.tensor([0, 1, 2, 3, float("nan"), 5]))
    elsewhere = torch.ones(6, device="meta")
    if list(projector.buffers()):
        with pytest.raises(UserError):
            projector(elsewhere)
        with pytest.raises(UserError):
            projector.transpose(torch.ones(40, device="meta"))
    else:  # what keeps nothing works on any device
        assert projector(elsewhere).is_meta


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("dtype", DTYPES)
def test_no_vectors_give_none(name, dtype) -> None:
    projector = make(name, 40, 6, seed=0)
    omega = torch.ones(2, 0, 6, dtype=dtype, requires_grad=True)
    theta = projector(omega)
    assert theta.shape == (2, 0, 40)
    assert projector.transpose(theta).shape == (2, 0, 6)
    theta.sum().backward()
    assert omega.grad.shape == omega.shape


@pytest.mark.parametrize("allow", ["matmul.allow_tf32 = True", "matmul.fp32_precision = 'tf32'"])
def test_tf32_is_off_within_products_and_as_before_after(allow) -> None:
    matmul = torch.backends.cuda.matmul
    if "fp32_precision" in allow and not hasattr(matmul, "fp32_precision"):
        pytest.skip("torch has one setting")
    try:
        exec(allow, {"matmul": matmul})
        with without_tf32():
            assert not matmul.allow_tf32
        assert matmul.allow_tf32
    finally:
        matmul.allow_tf32 = False


@pytest.mark.cuda
@pytest.mark.parametrize("name", NAMES)
def test_on_cuda_nan_passes_through(name) -> None:
    projector = make(name, 40, 6, seed=0).cuda()
    assert projector(torch.full((6,), torch.nan, device="cuda")).isnan().any()


@pytest.mark.parametrize("native, dim, seed", [
    (10.0, 2, 0), ("10", 2, 0), (0, 0, 0), (-3, 2, 0), (10, 2.0, 0), (10, True, 0), (10, None, 0),
    (10, 0, 0), (10, -1, 0), (10, 11, 0), (10, 2, 1.0), (10, 2, -1),
])  # fmt: skip
def test_sizes_and_seeds_are_checked_before_anything_is_drawn(native, dim, seed) -> None:
    with pytest.raises(UserError):
        require_sizes(native, dim, seed)
    with pytest.raises(UserError):
        make("gaussian", native, dim, seed)


@pytest.mark.parametrize("name", NAMES)
def test_whole_numbers_of_any_kind_are_sizes(name) -> None:
    for kind in (np.int64, np.uint8, torch.tensor):
        made = make(name, kind(40), kind(6), kind(3))
        every = torch.eye(6, dtype=torch.float64)
        assert torch.equal(made(every), make(name, 40, 6, 3)(every))
        assert type(made.native) is type(made.dim) is type(made.seed) is int


def test_what_no_memory_holds_is_refused_before_it_is_made() -> None:
    with pytest.raises(UserError):
        make("gaussian", 10**9, 10**6, seed=0)


def test_unknown_names_and_idle_first_columns_are_refused() -> None:
    with pytest.raises(UserError):
        make("gausian", 10, 2, seed=0)
    with pytest.raises(UserError):
        make("gaussian", 10, 2, seed=0, first=torch.ones(10))
