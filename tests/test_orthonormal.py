"""The post's projector: QR with θ_init as first column."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from subspace_bench.errors import UserError
from subspace_bench.projectors import make


def test_it_is_the_q_of_numpys_qr_up_to_signs() -> None:
    first = torch.randn(800) * 0.005
    columns = make("orthonormal", 800, 530, seed=4, first=first).columns.numpy()
    gaussian = make("gaussian", 800, 530, seed=4).columns.numpy().astype(np.float64)
    q = np.linalg.qr(np.vstack([first.numpy(), gaussian[1:]]).T)[0].T
    q *= np.sign((q * columns).sum(1))[:, None]
    np.testing.assert_allclose(columns, q, atol=2e-6)


def test_the_posts_first_column_lies_along_theta_init() -> None:
    first = torch.randn(300) * 0.005
    projector = make("orthonormal", 300, 40, seed=0, first=first)
    omega = torch.zeros(40)
    omega[0] = first[0] / projector.columns[0, 0]
    torch.testing.assert_close(projector(omega), first, rtol=1e-5, atol=1e-8)


def test_a_first_column_without_direction_is_refused() -> None:
    with pytest.raises(UserError, match="no direction"):
        make("orthonormal", 10, 2, seed=0, first=torch.zeros(10))
