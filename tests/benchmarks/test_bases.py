"""The bases script: its nets and directions, what a second call trains, and its page."""

from __future__ import annotations

import dataclasses
import math
from pathlib import Path

import pytest
import torch

from benchmarks import bases, measurements
from benchmarks.bases import NETS, RATES, SEEDS, Case, Score, basis, direction
from benchmarks.bases_page import DIM, page
from benchmarks.held_out import Split, batches, split
from subspace_bench.datasets.dataset import Dataset
from subspace_bench.experiments import published
from subspace_bench.models import parameter_count


@pytest.fixture
def dataset() -> Dataset:
    images = torch.randint(256, (300, 28, 28), generator=torch.Generator().manual_seed(0)).byte()
    labels = torch.arange(300) % 10
    return Dataset("tiny", images[:200], labels[:200], images[200:], labels[200:], "", "")


@pytest.fixture
def data(dataset: Dataset) -> Split:
    return split(dataset)


def test_the_nets_have_the_published_counts() -> None:
    assert {name: parameter_count(net()) for name, net in NETS.items()} == {
        "fc": 101_770,
        "cnn": 93_322,
    }
    assert NETS["cnn"]()(torch.zeros(2, 784)).shape == (2, 10)


def test_batches_are_parts_of_one_permutation_per_epoch() -> None:
    first, second = list(batches(10, 3, 2, 0))[:3], list(batches(10, 3, 2, 0))[3:]
    for epoch in (first, second):
        assert len(set(torch.cat(epoch).tolist())) == 9
    assert not torch.equal(torch.cat(first), torch.cat(second))


def columns(projector: torch.nn.Module, dim: int) -> torch.Tensor:
    """P (D, d)."""
    return torch.stack([projector(unit) for unit in torch.eye(dim)], dim=1)


def test_a_redrawn_basis_differs_at_each_step_and_a_fixed_one_does_not() -> None:
    fixed, redrawn = basis("fixed", 600, 8, 1), basis("redrawn", 600, 8, 1)
    other = basis("redrawn", 600, 8, 2)
    assert fixed is not None and redrawn is not None and other is not None  # noqa: PT018
    assert torch.equal(columns(fixed(1), 8), columns(fixed(2), 8))
    assert torch.equal(columns(redrawn(1), 8), columns(redrawn(1), 8))
    assert abs((columns(redrawn(1), 8) * columns(redrawn(2), 8)).sum()) < 1  # of 8 if equal
    assert not torch.equal(columns(redrawn(1), 8), columns(other(1), 8))
    assert basis("sgd", 600, 8, 1) is None
    together = torch.cat([columns(redrawn(step), 8) for step in range(4)], dim=1)
    assert torch.linalg.matrix_rank(together) == 32  # T steps reach T · d directions


def test_a_direction_lies_in_the_span_and_descends() -> None:
    generator = torch.Generator().manual_seed(0)
    gradients = torch.randn(20, 30, generator=generator), torch.randn(40, generator=generator)
    flat = torch.cat([g.flatten() for g in gradients])
    made = basis("fixed", 640, 8, 0)
    assert made is not None
    found, span = direction(gradients, made(0)), columns(made(0), 8)
    assert found == pytest.approx(span @ (span.T @ flat), abs=1e-5)
    assert found @ flat > 0
    assert torch.equal(direction(gradients, None), flat)


def test_the_mean_over_bases_is_the_gradient_times_d_over_native() -> None:
    gradients = (torch.randn(64, generator=torch.Generator().manual_seed(0)),)
    redrawn = basis("redrawn", 64, 16, 0)
    assert redrawn is not None
    mean = torch.stack([direction(gradients, redrawn(step)) for step in range(400)]).mean(0)
    assert mean == pytest.approx(gradients[0] * 16 / 64, abs=0.12)  # 5 standard errors


def trained_theta(method: str, rate: float, data: Split, monkeypatch) -> list[torch.Tensor]:
    nets: list[torch.nn.Module] = []

    def build() -> torch.nn.Module:
        nets.append(torch.nn.Sequential(torch.nn.Linear(784, 10)))
        return nets[-1]

    monkeypatch.setitem(bases.NETS, "fc", build)
    monkeypatch.setitem(bases.EPOCHS, "fc", 2)
    for value in (rate, 0.0):
        bases.train(Case("fc", method, "select", value, 3), data)
    return [torch.nn.utils.parameters_to_vector(net.parameters()).detach() for net in nets]


@pytest.mark.parametrize("method", ["fixed", "redrawn"])
def test_only_a_fixed_basis_keeps_theta_in_its_span(
    method: str, data: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    theta, origin = trained_theta(method, 1.0, data, monkeypatch)
    made = basis("fixed", len(theta), DIM, 3)
    assert made is not None
    span = columns(made(0), DIM)
    moved = theta - origin
    inside = span @ torch.linalg.lstsq(span, moved[:, None]).solution[:, 0]
    ratio = float((moved - inside).norm() / moved.norm())
    assert ratio < 1e-3 if method == "fixed" else ratio > 0.5


def test_a_training_is_scored_on_the_images_of_its_stage(
    data: Split, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(bases.EPOCHS, "fc", 2)
    case = Case("fc", "sgd", "select", 0.1, 0)
    selected, final = (
        bases.train(dataclasses.replace(case, stage=stage), data) for stage in ("select", "final")
    )
    assert selected.steps == 2 * (160 // 32)
    assert selected.accuracy == float(selected.curve.split()[-1])
    assert selected.curve == final.curve
    swapped = dataclasses.replace(data, test=data.held_out)
    last = bases.train(dataclasses.replace(case, stage="final"), swapped).accuracy
    assert last == selected.accuracy
    for method in ("sgd", "redrawn"):
        diverged = bases.train(dataclasses.replace(case, method=method, rate=1e30), data)
        assert diverged.accuracy == 0


def test_a_second_call_trains_nothing_and_the_page_comes_from_the_csv(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[Case] = []

    def fake(case: Case, data: Split) -> Score:
        trained.append(case)
        best = {key: rates[1] for key, rates in RATES.items()}.get((case.net, case.method), 1.0)
        base = {"fixed": 70.0, "redrawn": 90.0, "mean": 92.0, "sgd": 95.0}[case.method]
        accuracy = base - abs(math.log2(case.rate / best)) * (case.stage == "select")
        native, steps = parameter_count(NETS[case.net]()), 100
        return Score(accuracy + case.seed / 10, f"50.00 {accuracy:.2f}", native, steps)

    monkeypatch.setattr(bases, "train", fake)
    monkeypatch.setattr(bases, "load_or_embedded", lambda: dataset)
    bases.measure(tmp_path)
    assert len(trained) == 3 * len(RATES) + 4 * len(NETS) * len(SEEDS)
    finals = {(c.net, c.method): c.rate for c in trained if c.stage == "final"}
    assert finals["fc", "mean"] == pytest.approx(finals["fc", "redrawn"] * DIM / 101_770, abs=1e-6)
    before = (tmp_path / "bases.csv").read_bytes()
    trained.clear()
    bases.measure(tmp_path)
    assert trained == []
    assert (tmp_path / "bases.csv").read_bytes() == before

    made = page(measurements.load("bases", tmp_path))
    numbers = made.tables["numbers"]
    described = numbers.loc[numbers["net"] == "FC 784-128-10"].set_index("trained by")
    column = described["numbers that describe the trained net"]
    assert column.to_list() == ["250", "25,000", "101,770", "101,770"]
    assert made.tables["accuracies"]["ours, %"].iloc[0].startswith("70.20 ± ")
    assert len(made.figures["bases"].draw().axes) == len(NETS)


def test_published_accuracies_are_those_of_the_paper_and_a_redrawn_basis_wins() -> None:
    for net in published.load("gressmann2020").values():
        assert net["fixed"]["accuracy"] < net["redrawn"]["accuracy"] < net["sgd"]["accuracy"]
