"""The sparsity script: what its methods store, its stages, and its page from made-up trainings."""

from __future__ import annotations

import math
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch import nn

from benchmarks import sparsity, sparsity_methods, sparsity_training
from benchmarks.held_out import Split, normalised, split
from benchmarks.measurements import Measurements, load
from benchmarks.sparsity_methods import (
    FASTFOOD,
    L1,
    L1_PRUNED,
    L2,
    LOW_RANK,
    METHODS,
    PLAIN,
    PRUNED,
    SUBSPACE,
)
from benchmarks.sparsity_page import page
from benchmarks.sparsity_storage import (
    NATIVE,
    NUMBERS,
    equal_size,
    index_bytes,
    seeded_bytes,
    sparse_bytes,
)
from benchmarks.sparsity_training import Score, Training
from subspace_bench.datasets.dataset import Dataset
from subspace_bench.models import parameter_count
from subspace_bench.reporting.render import markdown


@pytest.fixture
def data(monkeypatch) -> Split:
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (150, 28, 28), generator=generator).byte()
    labels = torch.randint(10, (150,), generator=generator)
    monkeypatch.setattr(sparsity_training, "BATCH", 16)
    monkeypatch.setattr(sparsity_training, "EPOCHS", 1)
    tiny = Dataset("tiny", images[:100], labels[:100], images[100:], labels[100:], "", "")
    return split(tiny, normalised)


def test_an_index_takes_the_bits_of_its_possible_sets() -> None:
    assert index_bytes(NATIVE) == index_bytes(0) == 0
    assert index_bytes(1) == 2  # 21,840 places: 15 bits
    assert index_bytes(2, native=4) == 1  # 6 sets: 3 bits
    entropy = -sum(p * math.log2(p) for p in (1_000 / NATIVE, 1 - 1_000 / NATIVE))
    assert index_bytes(1_000) == pytest.approx(NATIVE * entropy / 8, rel=0.01)
    assert all(index_bytes(k) <= NATIVE / 8 for k in NUMBERS)  # a bitmask


@pytest.mark.parametrize("k", NUMBERS)
def test_sparse_nets_of_equal_bytes_are_as_large_as_fits(k: int) -> None:
    size = equal_size(k)
    assert sparse_bytes(size) <= seeded_bytes(k)
    assert size == NATIVE or sparse_bytes(size + 1) > seeded_bytes(k)


@pytest.mark.parametrize("method", METHODS)
def test_methods_store_at_most_k_numbers_and_not_many_fewer(method: str) -> None:
    exact = METHODS[method].storage is not sparsity_methods.dense_bytes
    for k in METHODS[method].sizes:
        net = METHODS[method].build(k, 0)
        if METHODS[method].pruned:
            sparsity_methods.prune_to(net, k)
        if METHODS[method].thresholded:
            sparsity_methods.keep_largest(net, k)
            stored = sum(int(p.count_nonzero()) for p in net.parameters())
        else:
            stored = sparsity_training.stored_numbers(net)
        assert (stored == k) if exact else (0.85 * k < stored <= k)
        assert net(torch.zeros(2, 1, 28, 28)).shape == (2, 10)


def test_low_rank_starts_near_the_net_and_needs_rank_one() -> None:
    torch.manual_seed(0)
    net = METHODS[LOW_RANK].build(10_000, 0)
    torch.manual_seed(0)
    plain = METHODS[PLAIN].build(NATIVE, 0)
    for name in ("conv2", "fc1"):
        ours, whole = (getattr(each, name).weight.detach().flatten(1) for each in (net, plain))
        assert torch.linalg.matrix_rank(ours) < min(ours.shape)
        assert ours.norm() == pytest.approx(float(whole.norm()), rel=1e-4)
        assert nn.functional.cosine_similarity(ours.flatten(), whole.flatten(), 0) > 0.6
    with pytest.raises(ValueError, match="rank 1"):
        METHODS[LOW_RANK].build(824, 0)
    assert sparsity_training.stored_numbers(METHODS[LOW_RANK].build(825, 0)) == 825


def test_pruning_falls_from_all_weights_to_k() -> None:
    kept = [sparsity_methods.kept_while_training(step / 100, 300) for step in range(101)]
    assert kept == sorted(kept, reverse=True)
    assert (kept[25], kept[65], kept[100]) == (NATIVE, 300, 300)
    net = METHODS[PRUNED].build(300, 0)
    for k in (20_000, 5_000, 300):
        sparsity_methods.prune_to(net, k)
        assert sparsity_methods.remaining(net) == k
    assert parameter_count(net) == NATIVE


def test_weight_sharing_starts_as_the_plain_net_does() -> None:
    torch.manual_seed(0)
    net = METHODS["shared weights"].build(1_000, 0)
    for layer in sparsity_methods.layers_of(net.module):
        bound = layer.weight[0].numel() ** -0.5
        values = torch.cat([layer.weight.flatten(), layer.bias]).detach().abs()
        assert 0.9 * bound < values.max() < 1.03 * bound


def test_a_training_gives_nets_of_exactly_k(data: Split) -> None:
    nets = sparsity_training.train(
        Training(L1, "select", None, 0.004, 1e-3, 0), [300, NATIVE], data
    )
    assert [net.numbers for net in nets] == [300, NATIVE]
    assert 0 < nets[0].large == nets[1].large <= NATIVE
    assert nets[1].cpu_seconds == 0
    (net,) = sparsity_training.train(Training(PRUNED, "final", 300, 0.004, 0.0, 0), [300], data)
    assert net.numbers == 300
    assert net.accuracy * 50 % 100 == pytest.approx(0)  # of the 50 test images


def test_pruning_stops_its_penalty_when_it_ends(data: Split, monkeypatch) -> None:
    called = []

    def norm(parameters: Sequence[torch.Tensor], method: str) -> torch.Tensor:
        called.append(method)
        return parameters[0].abs().sum()

    monkeypatch.setattr(sparsity_training, "norm", norm)
    batches = 5  # of the 80 images that are not held out
    for method, expected in ((L1, batches), (L1_PRUNED, 4)):  # the last starts at 0.8 of the steps
        size = None if method == L1 else 300
        sparsity_training.train(Training(method, "select", size, 0.004, 1e-3, 0), [300], data)
        assert called == [method] * expected
        called.clear()


def test_a_diverged_training_scores_zero(data: Split) -> None:
    data.train[0].fill_(torch.nan)
    for method, size in ((L2, None), (SUBSPACE, 300)):
        (net,) = sparsity_training.train(Training(method, "select", size, 0.1, 0.0, 0), [300], data)
        assert net.accuracy == 0


def made_up(training: Training, sizes: Sequence[int], data: Split) -> list[Score]:
    """Accuracy falls from the middle of a grid of rates, and from a penalty of 0.001."""
    middle = (METHODS[training.method].rates or (0.0, 0.004))[1]
    off = abs(math.log2(training.rate / middle))
    if METHODS[training.method].thresholded and training.penalty:
        off = abs(math.log10(training.penalty) + 3)
    return [Score(95 + training.seed / 100 - off, n, n // 2, 1.0) for n in sizes]


@contextmanager
def recorded() -> Iterator[list[Training]]:
    """Trainings are made up, of two final seeds; yields what `measure` trains."""
    trained: list[Training] = []

    def record(training: Training, sizes: Sequence[int], data: Split) -> list[Score]:
        trained.append(training)
        return made_up(training, sizes, data)

    digits = torch.zeros(10, 28, 28).byte(), torch.zeros(10)
    tiny = Dataset("tiny", *digits, *digits, "", "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sparsity, "train", record)
        patch.setattr(sparsity, "load_or_embedded", lambda: tiny)
        patch.setattr(sparsity, "FINAL_SEEDS", (10, 11))
        yield trained


@pytest.fixture(scope="module")
def complete(tmp_path_factory) -> tuple[Path, list[Training]]:
    """A folder with all trainings, and what was trained."""
    out = tmp_path_factory.mktemp("sparsity")
    with recorded() as trained:
        sparsity.measure(out)
    return out, trained


def test_stages_follow_the_protocol_and_resume(complete) -> None:
    out, trained = complete
    assert len(set(trained)) == len(trained)
    assert {t.stage for t in trained if t.seed == 0} == {"select"}
    finals = [t for t in trained if t.stage == "final"]
    assert {t.seed for t in finals} == {10, 11}
    assert {t.penalty for t in finals if t.method == L1} == {1e-3}
    assert {t.rate for t in finals if t.method == FASTFOOD} == {0.2}
    assert {t.penalty for t in finals if t.method == L1_PRUNED and t.size == 300} == {0.3 / 300}
    sizes = {t.size for t in finals if t.method == PRUNED}
    assert sizes == {*NUMBERS[:-1], *map(equal_size, NUMBERS[:-1])}
    before = (out / "sparsity.csv").read_bytes()
    with recorded() as again:
        sparsity.measure(out)
    assert not again
    assert (out / "sparsity.csv").read_bytes() == before


def test_an_interrupted_measurement_goes_on(complete, tmp_path: Path) -> None:
    lines = (complete[0] / "sparsity.csv").read_text(encoding="utf-8").splitlines(keepends=True)
    shutil.copy(complete[0] / "sparsity.json", tmp_path)
    path = tmp_path / "sparsity.csv"
    path.write_text("".join(lines[:-3]), encoding="utf-8")
    with recorded() as again:
        sparsity.measure(tmp_path)
    assert again == complete[1][-3:]
    assert path.read_text(encoding="utf-8") == "".join(lines)


def test_a_grown_grid_replaces_what_was_chosen(
    complete, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for suffix in ("csv", "json"):
        shutil.copy(complete[0] / f"sparsity.{suffix}", tmp_path)
    smaller = replace(METHODS[L1], penalties=(1e-2,))
    monkeypatch.setitem(METHODS, L1, smaller)
    with recorded():
        sparsity.measure(tmp_path)
    rows = load("sparsity", tmp_path).numbers.query("method == @L1 and stage == 'final'")
    assert set(rows["penalty"]) == {1e-2}
    assert not rows.duplicated(["size", "seed"]).any()


def test_the_page_shows_every_method_at_equal_numbers_and_bytes(complete) -> None:
    found = load("sparsity", complete[0])
    made = page(found)
    numbers, bytes_ = (made.tables[name].set_index("method") for name in ("numbers", "bytes"))
    assert list(numbers.index) == list(bytes_.index) == list(METHODS)
    assert numbers.loc[PRUNED, "k = 1,000"].startswith("95.10 ± 0.06")
    assert f"{sparse_bytes(1_000):,} B" in numbers.loc[PRUNED, "k = 1,000"]
    assert f"{equal_size(1_000):,} numbers" in bytes_.loc[PRUNED, "4,008 B"]
    assert "1,000 numbers" in bytes_.loc[SUBSPACE, "4,008 B"]
    assert numbers.loc[LOW_RANK, "k = 300"] == ""
    choices = made.tables["choices"].set_index("method")
    assert (choices.loc[L2, "k = 300"], choices.loc[FASTFOOD, "k = 300"]) == ("0.001", "0.2")
    assert (made.tables["penalties"]["penalty"] == "L1").sum() == len(METHODS[L1].penalties)
    assert f"{NATIVE // 2:,}" in made.summary
    assert markdown(made)
    assert made.figures["sparsity"].draw().axes[0].get_lines()


def test_a_page_of_fewer_trainings_renders(complete) -> None:
    rows = load("sparsity", complete[0]).numbers.query("seed in (0, 10) or method == @L1")
    made = page(Measurements(rows.astype(str), rows, load("sparsity", complete[0]).facts))
    assert "(n = 1)" in made.tables["numbers"].set_index("method").loc[PRUNED, "k = 300"]
    assert isinstance(made.tables["numbers"], pd.DataFrame)
