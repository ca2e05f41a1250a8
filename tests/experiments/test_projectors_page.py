"""The page of a timing table: rebuilt from its csv, and what its cells show."""

from __future__ import annotations

import functools
import shutil
from pathlib import Path

import pytest

from subspace_bench.experiments import projectors as module
from subspace_bench.experiments import projectors_at_sizes, projectors_predicted
from subspace_bench.profiling.derived import derive
from subspace_bench.profiling.table import read_frame
from subspace_bench.reporting.render import markdown, write_page

RESULTS = Path(__file__).parents[2] / "results"
ROW = {
    "projector": "srht", "native": 1000, "dim": 10, "device": "cpu", "dtype": "bfloat16",
    "status": "ok", "setup_s": 0.1, "resident_bytes": 0, "peak_bytes": 6000, "read_gbs": 10.0,
    "cache_bytes": 10**6, "norm_mean": 1.0, "norm_sd": 0.01, "norm_n": 3, "coherence": 0.02,
    "pairs": 25, "forward_ms": 1.0, "forward_q25": 1.0, "forward_q75": 1.0, "transpose_ms": 1.0,
    "transpose_q25": 1.0, "transpose_q75": 1.0,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.skipif(not (RESULTS / "projectors-cpu.csv").exists(), reason="not in an sdist")
def test_any_machine_rebuilds_the_committed_pages(tmp_path, monkeypatch) -> None:
    without_figures = functools.partial(write_page, figures=False)
    monkeypatch.setattr(module, "write_page", without_figures)
    tables = [tmp_path / f"projectors-{device}.csv" for device in ("cpu", "cuda")]
    for csv in tables:
        shutil.copy(RESULTS / csv.name, csv)
    paths = [*module.rebuild_pages("cpu", tmp_path), *module.rebuild_pages("cuda", tmp_path)]
    assert len(paths) == 2
    for page in [*tables, *paths]:
        assert page.read_bytes() == (RESULTS / page.name).read_bytes()


@pytest.mark.skipif(not (RESULTS / "projectors-cpu.csv").exists(), reason="not in an sdist")
def test_a_page_counts_its_cases() -> None:
    frame = read_frame(RESULTS / "projectors-cpu.csv")[:20].copy()
    frame.loc[:4, "status"] = "failed: no"
    frame.loc[10:, "revision"] = "bbbbbbbb+"
    page = module.page("projectors-cpu", frame, {}, missing=7)
    machine = page.tables["machine"].set_index("")["value"]
    assert machine["cases"] == "20 (a whole comparison has 345), of which 15 measured"
    assert machine["cases still to be measured"] == "7"
    assert machine["revision"] == "215ae801 (10 cases), bbbbbbbb+ (10 cases)"
    assert page.tables["times"].loc[0, frame.projector[0]] == "failed"
    assert "accuracy" not in page.tables
    assert markdown(page)


def test_a_page_names_the_cases_of_older_code() -> None:
    frame = read_frame(RESULTS / "projectors-cpu.csv")
    frame = frame[(frame.projector == "hashed") & (frame.status == "ok")][:3].copy()
    assert projectors_at_sizes.older_cases(frame) == []  # no code is known
    assert projectors_at_sizes.older_cases(frame.assign(sources="a")) == []
    frame = frame.assign(sources=["b", "b", "a"])
    last = frame.iloc[2]
    assert projectors_at_sizes.older_cases(frame[::-1]) == [
        f"hashed {last.native:,} × {last.dim:,}"
    ]


def test_detail_shows_dtype_and_cache() -> None:
    shown = module.detail(derive(ROW))
    assert shown["projector"] == "srht (bfloat16)"
    assert shown["peak, θ"] == "3.0"  # copies of 2,000 bytes
    assert shown["GB/s"] == "0.00202*"  # twice 2,020 bytes in 2 ms, all in cache
    assert shown["stored"] == "0"
    assert shown["‖Pω‖/‖ω‖"] == "1.000 ± 0.01 (3 ω)"
    assert shown["coherence"] == "0.02 (25 pairs)"
    assert shown["of read"] == "0%*"
    assert not module.detail(derive({**ROW, "cache_bytes": 0}))["GB/s"].endswith("*")
    stored = {**ROW, "resident_bytes": 4e6, "cache_bytes": 0, "read_ms": 0.9}  # 4.44 GB/s
    assert module.detail(derive(stored))["of read"] == "90%"  # of 4 GB/s
    lost = module.detail(derive({**ROW, "norm_mean": float("nan"), "lost": "out of memory"}))
    assert lost["‖Pω‖/‖ω‖"] == "failed: out of memory"
    assert lost["coherence"] == ""


def test_without_a_gpu_the_page_predicts() -> None:
    tables = projectors_predicted.tables()
    times, memory = tables["predicted_times"], tables["predicted_memory"]
    assert set(times["take"]) == {"not measured"}
    assert times["D"].nunique() == 6
    last = (times["D"] == "1,000,000,000") & (times["d"] == "100,000")
    assert times.loc[last, "gaussian"].item() == projectors_predicted.TOO_LARGE
    assert memory.loc[last, "gaussian"].item() == projectors_predicted.TOO_LARGE
    post = (times["D"] == "21,840") & (times["d"] == "10,000")
    # 2·4·(D·d + d) + 2·4·D bytes at 3,350 GB/s
    assert times.loc[post, "gaussian"].item() == "0.522"
