"""The benchmark scripts' pages are rebuilt from their csv and json; their timing helpers."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import (
    ablation_page,
    asv_detection,
    autoencoder_page,
    bases_page,
    bloat_page,
    cart_pole_page,
    dimension_search,
    intrinsic_dimension_page,
    learning_rates_page,
    measurements,
    peer_accuracy,
    peer_differences,
    peers,
    scaling,
    sharded,
    sparsity_page,
    speed,
)
from benchmarks.peer_timings import hadamard_transforms, ours
from subspace_bench.common.errors import UserError
from subspace_bench.reporting.page import Page
from subspace_bench.reporting.render import markdown, write_page

RESULTS = Path(__file__).parents[2] / "results"


def peers_page(found: measurements.Measurements) -> Page:
    return peers.page(found, measurements.load(peer_accuracy.NAME, RESULTS))


PAGES = {
    "speed": speed.page,
    "peers": peers_page,
    "asv": asv_detection.page,
    "learning-rates": learning_rates_page.page,
    "dimension-search": dimension_search.page,
    "scaling": scaling.page,
    "sharded": sharded.page,
    "ablation": ablation_page.page,
    "autoencoder": autoencoder_page.page,
    "bases": bases_page.page,
    "sparsity": sparsity_page.page,
    "bloat": bloat_page.page,
    "cart-pole": cart_pole_page.page,
    "intrinsic-dimension": intrinsic_dimension_page.page,
}


@pytest.mark.parametrize("name", PAGES)
def test_committed_pages_rebuild_byte_for_byte(name: str, tmp_path: Path) -> None:
    for ending in ("csv", "json"):
        shutil.copy(RESULTS / f"{name}.{ending}", tmp_path)
    written = write_page(PAGES[name](measurements.load(name, tmp_path)), tmp_path)
    assert {f"{name}.md", f"{name}.csv"} <= {path.name for path in written}
    for path in written:
        committed = RESULTS / path.relative_to(tmp_path)
        assert committed.is_file()
        if path.suffix != ".png":  # pixels depend on the renderer
            assert path.read_bytes() == committed.read_bytes()


def test_a_page_needs_measurements(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="speed"):
        measurements.load("speed", tmp_path)


@pytest.mark.parametrize(
    ("old", "new"),
    [("1.5", "1.6"), ("row_sha256", "row_sha255"), (",row_sha256", ";row_sha256"), ("b\n", "b")],
)
def test_damaged_measurements_are_refused(old: str, new: str, tmp_path: Path) -> None:
    rows = pd.DataFrame({"number": [1.5, 2.5], "text": ["a", "b"]})
    measurements.save("some", tmp_path, rows, {"fact": 1})
    found = measurements.load("some", tmp_path)
    assert found.numbers.equals(rows)
    assert found.facts == {"fact": 1}
    path = tmp_path / "some.csv"
    text = path.read_text()
    path.write_text(text.replace(old, new) if old in text else text[:-1] + ",")
    with pytest.raises(UserError, match=r"some\.csv"):
        measurements.load("some", tmp_path)


def test_the_page_of_peers_renders_without_any_installed(monkeypatch) -> None:
    def missing(name: str) -> None:
        raise ImportError(name)

    with monkeypatch.context() as patch:
        patch.setattr(peer_differences.importlib, "import_module", missing)
        differences = peer_differences.measure_differences()
    assert set(differences.values()) == {peer_differences.MISSING}
    found = measurements.load("peers", RESULTS)
    assert set(differences) == set(found.facts["differences"])
    found.facts["differences"] = differences
    assert peer_differences.MISSING in markdown(peers_page(found))


def test_peers_are_compared_in_their_own_type() -> None:
    rows = measurements.load("peers", RESULTS).numbers
    ratios = peers.peer_ratios(rows)
    row = rows.loc[ratios.index].query("implementation.str.startswith('pyfwht, float64 (')").iloc[0]
    same = rows[(rows["task"] == row["task"]) & (rows["size"] == row["size"])]
    wide = same[(same["threads"] == row["threads"]) & (same["implementation"] == "ours, float64")]
    assert ratios[row.name] == pytest.approx(row["ms"] / wide["ms"].item())


def test_calls_take_turns() -> None:
    order: list[str] = []
    calls = {name: lambda name=name: order.append(name) for name in "ab"}
    times = speed.run_in_turns(calls, rounds=2, steps=1)
    assert order[6:] == ["a", "b", "b", "a"]  # after three calls of each
    assert all(values.shape == (2,) for values in times.values())


def test_ratios_are_taken_within_rounds() -> None:
    times = {"theirs": np.array([2.0, 30.0, 4.0]), "ours": np.array([1.0, 10.0, 4.0])}
    row = speed.summarize({"d": 3}, times, "ours")
    assert (row["ours ms"], row["theirs ms"], row["theirs / ours"]) == (4, 4, 2)
    assert (row["theirs ratio q25"], row["theirs ratio q75"]) == (1.5, 2.5)


def test_counts_have_separators_and_times_their_decimals() -> None:
    frame = speed.shown(pd.DataFrame({"table": "x", "d": ["D", "10000"], "a ms": [1.5, 1234.567]}))
    assert frame.to_numpy().tolist() == [["D", "1.50"], ["10,000", "1,234.57"]]


def test_our_implementations_pass_their_check() -> None:
    ours("fastfood", 300, 20).check()
    transforms = dict(hadamard_transforms(64))
    for name in ("ours", "ours, float64", "our plain PyTorch, float64", "scipy.linalg.hadamard"):
        transforms[name]().check()


def test_asv_takes_no_helper_for_a_benchmark() -> None:
    """asv times every function whose name starts with `time_`, also in the scripts."""
    discovery = pytest.importorskip("asv_runner.discovery")
    found = discovery.disc_benchmarks(str(RESULTS.parent / "benchmarks"))
    assert {benchmark.name.split(".")[0] for benchmark in found} == {"projectors", "training"}
