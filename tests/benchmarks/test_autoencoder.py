"""The autoencoder script: its net, its baselines, what a second call trains, and its page."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import autoencoder, measurements
from benchmarks.autoencoder import SEEDS, Autoencoder, Case, Score, Task
from benchmarks.autoencoder_baselines import baselines, noisy
from benchmarks.autoencoder_page import NATIVE, page
from benchmarks.autoencoder_pictures import LEVELS, decode, encode
from benchmarks.held_out import split
from subspace_bench.datasets.dataset import Dataset
from subspace_bench.models import parameter_count

DIMS = (10, 200, NATIVE)
BASELINES = {
    "one grey value": {"numbers": 1.0, "error": 0.1, "rotated": 0.1},
    "mean image": {"numbers": 784.0, "error": 0.07, "rotated": 0.08},
    "PCA, 1 component": {"numbers": 1_569.0, "error": 0.06, "rotated": 0.08},
}


@pytest.fixture
def dataset() -> Dataset:
    images = torch.randint(256, (150, 28, 28), generator=torch.Generator().manual_seed(0)).byte()
    labels = torch.arange(150) % 10
    return Dataset("tiny", images[:100], labels[:100], images[100:], labels[100:], "", "")


def test_the_net_has_the_papers_count_and_starts_at_the_mean_pixel() -> None:
    net = Autoencoder(0.13)
    assert parameter_count(net) == NATIVE == 784 * 100 + 100 + 100 * 784 + 784
    with torch.no_grad():
        assert net(torch.full((1, 784), 0.5)).mean().item() == pytest.approx(0.13, abs=0.02)


def test_more_components_help_up_to_the_rank_of_the_images() -> None:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(400, 3, generator=generator) @ torch.rand(3, 784, generator=generator) / 3
    found = baselines(images, {"error": (images, noisy(images))})
    assert found["one grey value"]["error"] == pytest.approx(float(images.var()), rel=1e-3)
    errors = [found[name]["error"] for name in ("mean image", "PCA, 1 component")]
    errors.append(found["PCA, 3 components"]["error"])
    assert errors == sorted(errors, reverse=True)
    assert errors[0] == pytest.approx(images.var(0, correction=0).mean().item(), rel=1e-3)
    assert found["PCA, 100 components"]["error"] == pytest.approx(errors[2], rel=0.02)  # rank 3
    assert found["PCA, 12 components"]["numbers"] == 784 + 12 * 785


def test_pictures_come_back() -> None:
    values = torch.rand(2, 784)
    assert decode(encode(values)).shape == (2, 28, 28)
    assert np.abs(decode(encode(values)).reshape(2, -1) - values.numpy()).max() < 0.6 / (LEVELS - 1)
    filters = torch.tensor([-2.0, 0.0, 1.0, 0.0] * 196)[None]
    shown = decode(encode(filters, signed=True)).flatten()[:4]
    assert shown == pytest.approx([0, 0.5, 0.75, 0.5], abs=0.6 / (LEVELS - 1))


def test_a_training_is_scored_on_the_images_of_its_stage(
    dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(autoencoder, "EPOCHS", 1)
    monkeypatch.setattr(autoencoder, "BATCH", 20)
    task = Task(split(dataset), {})
    assert (len(task.train), len(task.held_out)) == (80, 20)
    selected = autoencoder.train(Case("select", 30, 0.1, 0), task)
    assert np.isnan(selected.rotated)
    assert set(task.pictures["images"]) == {"digits", "with noise"}
    final = autoencoder.train(Case("final", 30, 0.1, SEEDS[0]), task)
    assert final.error != selected.error
    assert decode(task.pictures["filters"]["30"]).shape == (10, 28, 28)
    task.train.fill_(torch.nan)
    for d in (30, NATIVE):
        assert autoencoder.train(Case("select", d, 0.1, 0), task).error == float("inf")


def test_a_second_call_trains_nothing_and_the_page_comes_from_the_files(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[Case] = []

    def fake(case: Case, task: Task) -> Score:
        trained.append(case)
        full = case.d == NATIVE
        off = abs(case.rate / (2**-7 if full else 0.5) - 1)
        if case.stage == "final" and case.seed == SEEDS[0]:
            task.picture("images", str(case.d), task.shown)
            task.picture("filters", str(case.d), task.shown)
        error = 0.01 if full else 0.1 / np.log10(case.d)
        return Score(error + off / 100 + case.seed / 1e5, 0.2, float("nan"))

    monkeypatch.setattr(autoencoder, "DIMS", DIMS)
    monkeypatch.setattr(autoencoder, "train", fake)
    monkeypatch.setattr(autoencoder, "load_or_embedded", lambda: dataset)
    monkeypatch.setattr(autoencoder, "baselines", lambda train, scored: BASELINES)
    autoencoder.measure(tmp_path)
    assert len(trained) == len(DIMS) * (3 + len(SEEDS))
    assert {case.rate for case in trained if case.stage == "final"} == {0.5, 2**-7}
    before = (tmp_path / "autoencoder.csv").read_bytes()
    trained.clear()
    autoencoder.measure(tmp_path)
    assert trained == []
    assert (tmp_path / "autoencoder.csv").read_bytes() == before

    made = page(measurements.load("autoencoder", tmp_path))
    table = made.tables["errors"].set_index("trained numbers")
    assert table.loc["10", "test digits"] == "100.02 ± 0.02 (n = 5)"
    assert table.loc["10", "Fashion-MNIST"] == "files not at hand"
    assert len(table) == len(DIMS) + len(BASELINES)
    digits = made.figures["autoencoder-digits"].draw().axes[0]
    shown = [label.get_text() for label in digits.get_yticklabels()]
    assert shown == ["digits", "with noise", *(f"d = {d:,}" for d in DIMS)]
    assert made.figures["autoencoder"].draw().axes[0].get_xscale() == "log"


def test_an_interrupted_campaign_continues(
    tmp_path: Path, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained: list[Case] = []

    def fake(case: Case, task: Task) -> Score:
        trained.append(case)
        if len(trained) == 6:
            raise KeyboardInterrupt
        if case.stage == "final" and case.seed == SEEDS[0]:
            task.picture("filters", str(case.d), task.shown)
        return Score(abs(np.log2(case.rate)) + 1, 0.2, float("nan"))

    monkeypatch.setattr(autoencoder, "train", fake)
    monkeypatch.setattr(autoencoder, "DIMS", (10,))
    monkeypatch.setattr(autoencoder, "load_or_embedded", lambda: dataset)
    monkeypatch.setattr(autoencoder, "baselines", lambda train, scored: BASELINES)
    with pytest.raises(KeyboardInterrupt):
        autoencoder.measure(tmp_path)
    autoencoder.measure(tmp_path)
    assert trained[6] == trained[5]
    assert trained[4].stage == "final"
    assert "10" in measurements.load("autoencoder", tmp_path).facts["pictures"]["filters"]
    once = [*trained[:5], *trained[6:]]
    assert len(set(once)) == len(once)
