"""The author's θ_init and P, in the order of our parameters."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from subspace_bench import UserError, models
from subspace_bench.training import author_draws, presets
from subspace_bench.training.loop import prepare
from subspace_bench.training.optimizers import subspace_of

SIGMAS = {"conv": [0.005], "fc": [0.001, 0.001, 0.01]}
# The order of θ in the published code: (parameters, whether a dense weight is stored (in, out)).
THEIRS = {
    "conv": ["conv1.weight", "conv1.bias", "conv2.weight", "conv2.bias",
             "fc1.weight", "fc1.bias", "fc2.weight", "fc2.bias"],
    "fc": ["fc1.weight", "fc2.weight", "fc3.weight", "fc1.bias", "fc2.bias", "fc3.bias"],
}  # fmt: skip


def written_out(model: str, dim: int) -> tuple[np.ndarray, np.ndarray]:
    """(θ_init, P) as the published code makes them, in its own order."""
    net = dict(models.build(model).named_parameters())
    sigmas = iter(SIGMAS[model] * (1 if model == "fc" else 4))
    random = np.random.RandomState(123)
    theta = np.concatenate([
        random.randn(net[name].numel(), 1) * (next(sigmas) if "weight" in name else 0.0)
        for name in THEIRS[model]
    ])  # fmt: skip
    a = np.concatenate([theta, random.randn(len(theta), dim - 1)], axis=1)
    return theta[:, 0], np.linalg.qr(a)[0]


def theirs(model: str, module: torch.nn.Module) -> np.ndarray:
    """A module's parameters in the author's order and layout."""
    named = dict(module.named_parameters())
    parts = [
        named[n].detach().T if named[n].ndim == 2 else named[n].detach() for n in THEIRS[model]
    ]
    return np.concatenate([part.reshape(-1).numpy() for part in parts])


@pytest.mark.parametrize("model", ["conv", "fc"])
def test_theta_init_and_p_are_those_of_the_published_code(model: str) -> None:
    init = "normal:" + ",".join(map(str, SIGMAS[model]))
    run = presets.post(model, 5, 10, init, draws="author")
    net = prepare(run)
    projector, origin, omega = subspace_of(run, net)
    theta, p = written_out(model, 5)
    np.testing.assert_array_equal(theirs(model, net.module), theta.astype(np.float32))
    columns = projector.get_buffer("columns")
    for j in range(5):
        torch.nn.utils.vector_to_parameters(columns[j], net.module.parameters())
        np.testing.assert_allclose(theirs(model, net.module), p[:, j], atol=1e-8)
    gram = columns.double() @ columns.double().T
    torch.testing.assert_close(gram, torch.eye(5, dtype=torch.float64), atol=1e-6, rtol=0)
    start = author_draws.theta_init(model, SIGMAS[model]).float()
    torch.testing.assert_close(projector(omega), start, atol=1e-7, rtol=1e-5)
    assert not origin.any()


def test_first_numbers_of_theta_init_are_numpys_legacy_stream() -> None:
    theta = author_draws.theta_init("conv", [0.01])
    # numpy.random.seed(123); numpy.random.randn(3)
    expected = torch.tensor([-1.0856306033005612, 0.9973454465835858, 0.28297849805199204])
    torch.testing.assert_close(theta[:3], expected.double() * 0.01, atol=1e-12, rtol=1e-7)


def test_the_seed_determines_only_batches_and_dropout() -> None:
    run = presets.post("conv", None, 10, draws="author")
    assert torch.equal(prepare(run).theta, prepare(replace(run, seed=7)).theta)


def test_other_nets_and_origins_are_refused() -> None:
    with pytest.raises(UserError, match="mlp-16"):
        author_draws.theta_init("mlp-16", [0.01])
    run = presets.post("conv", 10, 10)
    with pytest.raises(UserError, match="author"):
        replace(run, draws="author", init="he")
    with pytest.raises(UserError, match="author"):
        replace(run, draws="author", origin="init")
