"""The leaderboard: what training changes is counted, and only that is scored."""

from pathlib import Path

import pandas as pd
import pytest

from benchmarks import leaderboard
from benchmarks.leaderboard_entries import ENTRIES, Entry, load
from benchmarks.leaderboard_page import collect, page, ranked
from benchmarks.measurements import Measurements
from subspace_bench.common import source_digests
from subspace_bench.common.errors import UserError
from subspace_bench.datasets.dataset import Dataset
from subspace_bench.datasets.loading import load as load_dataset

HEADER = """\
title = "a logistic regression"
author = "a test"
net = "{net}"
dataset = "mnist-5k"
chosen = "not at all"
seeds_tried = {tried}
claimed = {claimed}
"""
LOGISTIC = """\
import torch
from torch import nn
from subspace_bench import Subspace, models

def build(dim, seed):
    torch.manual_seed(seed)
    return {net}

def train(net, images, labels, seed):
    parameters = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(parameters, 0.1)
    for _ in range({steps}):
        loss = nn.functional.cross_entropy(net(images[:256]), labels[:256])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    {after}
"""
SUBSPACE = "Subspace(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), dim)"


def entry(folder: Path, net: str = SUBSPACE, after: str = "", steps: int = 30, kind: str = "any",
          claimed: str = "{ 20 = 0 }", tried: int = 1) -> Entry:  # fmt: skip
    folder.mkdir(exist_ok=True)
    (folder / "entry.toml").write_text(HEADER.format(net=kind, claimed=claimed, tried=tried))
    (folder / "entry.py").write_text(LOGISTIC.format(net=net, after=after, steps=steps))
    source_digests.code_of.cache_clear()  # of the file as it was
    return load(folder)


def test_the_digest_is_that_of_the_code_and_of_what_it_imports() -> None:
    first, same = load(ENTRIES / "oriented-hashed"), load(ENTRIES / "oriented-hashed")
    assert first.digest == same.digest != load(ENTRIES / "oriented-sparse").digest


def test_comments_do_not_change_the_digest(tmp_path: Path) -> None:
    first = entry(tmp_path / "mine").digest
    assert entry(tmp_path / "mine", after="pass  # a remark").digest != first
    assert entry(tmp_path / "mine", after="# a remark").digest == first


@pytest.fixture(scope="module")
def digits() -> Dataset:
    return load_dataset("mnist-5k")


def test_numbers_and_bytes_that_training_changes_are_counted(
    tmp_path: Path, digits: Dataset
) -> None:
    score = entry(tmp_path / "one").score(20, 0, digits)
    assert (score.numbers, score.stored_bytes) == (20, 80)
    assert score.accuracy > 15
    doubles = entry(tmp_path / "two", f"{SUBSPACE}.double()").score  # images are float32
    with pytest.raises(RuntimeError):
        doubles(20, 0, digits)


@pytest.mark.parametrize(
    ("net", "after"),
    [
        ("nn.Sequential(nn.BatchNorm2d(1), " + SUBSPACE + ")", ""),  # its running statistics
        (SUBSPACE, "net.module[1].bias.requires_grad; net.omega.data = net.omega.data; "
         "net.register_buffer('kept', labels[:9])"),
        ("nn.Sequential(nn.Flatten(), nn.Linear(784, 10))", ""),
    ],
)  # fmt: skip
def test_an_entry_that_keeps_more_than_d_numbers_is_refused(
    tmp_path: Path, digits: Dataset, net: str, after: str
) -> None:
    with pytest.raises(UserError):
        entry(tmp_path / "entry", net, after).score(20, 0, digits)


def test_what_is_kept_outside_of_the_state_does_not_score(tmp_path: Path, digits: Dataset) -> None:
    after = "net.forward = lambda x: nn.functional.one_hot(labels[: len(x)], 10).float()"
    honest, cheat = entry(tmp_path / "a"), entry(tmp_path / "b", after=after)
    assert honest.score(20, 0, digits).accuracy == cheat.score(20, 0, digits).accuracy


def test_what_build_remembers_of_training_does_not_score(tmp_path: Path, digits: Dataset) -> None:
    untrained = entry(tmp_path / "untrained", steps=0).score(20, 0, digits)
    after = "import copy; kept = copy.deepcopy(net); globals()['build'] = lambda dim, seed: kept"
    outcome = entry(tmp_path / "cheat", after=after).score(20, 0, digits)
    assert (outcome.numbers, outcome.accuracy) == (0, untrained.accuracy)


def test_a_seed_that_was_chosen_counts(tmp_path: Path, digits: Dataset) -> None:
    score = entry(tmp_path / "best", SUBSPACE.replace("dim", "dim - 1"), tried=300)
    outcome = score.score(20, 0, digits)
    assert (outcome.numbers, outcome.stored_bytes) == (20, 19 * 4 + 2)  # 300 seeds: 9 bits
    with pytest.raises(UserError):
        entry(tmp_path / "more", tried=2).score(20, 0, digits)


def test_the_posts_net_has_the_posts_tensors(tmp_path: Path, digits: Dataset) -> None:
    net = "Subspace(models.build('conv-plain'), dim)"
    assert entry(tmp_path / "post", net, kind="post", steps=1).score(20, 0, digits).numbers == 20
    with pytest.raises(UserError):
        entry(tmp_path / "other", kind="post").score(20, 0, digits)


def test_a_second_call_continues_and_new_code_is_trained_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, digits: Dataset
) -> None:
    out = tmp_path / "out"
    command = ["leaderboard", "--out", str(out), "--entries", str(tmp_path), "--seeds"]
    trained: list[tuple[int, int]] = []
    score = Entry.score

    def count(self: Entry, dim: int, seed: int, dataset: Dataset, device: str) -> object:
        trained.append((dim, seed))
        return score(self, dim, seed, dataset, device)

    monkeypatch.setattr(Entry, "score", count)
    for seeds, steps in [(1, 1), (2, 1), (1, 2)]:
        entry(tmp_path / "mine", steps=steps, claimed="{ 5 = 12.5 }")
        monkeypatch.setattr("sys.argv", [*command, str(seeds)])
        leaderboard.main()
    assert trained == [(5, 0), (5, 1), (5, 0)]
    rows = pd.read_csv(out / "leaderboard.csv")
    assert list(rows["seed"]) == [0]
    assert "mine" in (out / "leaderboard.md").read_text()


def test_rows_are_ranked_and_only_five_seeds_are_verified(tmp_path: Path) -> None:
    entries = [entry(tmp_path / name, claimed="{ 20 = 99.9 }") for name in "abc"]
    rows = pd.DataFrame(
        [
            (name, entries[i].digest, 20, seed, 20, 80, level + seed / 10, 1.0)
            for i, (name, level, n) in enumerate([("a", 90.0, 5), ("b", 95.0, 5), ("c", 97.0, 4)])
            for seed in range(n)
        ],
        columns=["entry", "digest", "d", "seed", "numbers", "stored_bytes", "accuracy", "seconds"],
    )
    found = ranked(collect(rows, entries), "mnist-5k", "any")[20]
    assert [(row.entry.name, row.status) for row in found] == [
        ("b", "verified"), ("a", "verified"), ("c", "re-run here")
    ]  # fmt: skip
    assert found[0].p_better(found[1]) == pytest.approx(2 / 252)  # the smallest of 5 against 5
    made = page(Measurements(rows.astype(str), rows, {}), entries)
    assert made.tables["best"].iloc[0]["entry"] == "b"
    assert made.figures["leaderboard"].draw().axes


def test_an_entry_that_was_edited_while_it_trained_is_refused(
    tmp_path: Path, digits: Dataset
) -> None:
    after = "with open(__file__, 'a') as file: file.write('x = 1')"
    with pytest.raises(UserError, match="edited"):
        entry(tmp_path / "edited", after=after, steps=1).score(20, 0, digits)


def test_an_entry_for_another_dataset_takes_the_code_of_one(tmp_path: Path) -> None:
    first, taken = load(ENTRIES / "post-sparse"), load(ENTRIES / "fashion-post-sparse")
    assert taken.code.__file__ == first.code.__file__
    assert taken.digest != first.digest
    other = tmp_path / "other"
    other.mkdir()
    toml = HEADER.format(net="any", claimed="{ 5 = 0 }", tried=1)
    (other / "entry.toml").write_text(f'code = "nosuch"\n{toml}')
    with pytest.raises(UserError, match="nosuch"):
        load(other)
