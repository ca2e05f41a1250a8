"""`subspace-bench compare`, through the command line: cells, resume, pages, and what cannot be."""

from __future__ import annotations

import multiprocessing
import threading
import time
from pathlib import Path

import pandas as pd
import pytest

from subspace_bench.cli import main
from subspace_bench.common.errors import UserError
from subspace_bench.experiments import projectors
from subspace_bench.profiling import cases as cells_module
from subspace_bench.profiling import worker
from subspace_bench.profiling.cases import DIMS, NATIVE, Cells, grid, small, waiting
from subspace_bench.profiling.timing import Case
from subspace_bench.projectors import names

SMALL = ["compare", "--projectors", "gaussian,orthonormal", "--native", "900,700", "--dims", "5,40"]


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> Path:
    """Where a small grid was compared."""
    out = tmp_path_factory.mktemp("compare")
    assert run(*SMALL, "--out", str(out)) == 0
    return out


def test_it_measures_every_cell_and_writes_the_page(measured) -> None:
    frame = pd.read_csv(measured / "projectors-cpu.csv")
    assert len(frame) == 8
    assert (frame.status == "ok").all()
    assert (frame.resident_bytes == 4 * frame.native * frame.dim).all()
    assert (frame.forward_ms > 0).all()
    assert (frame.forward_q25 <= frame.forward_ms).all()
    orthonormal = frame[frame.projector == "orthonormal"]
    assert (orthonormal.norm_sd < 1e-5).all()
    assert (orthonormal.coherence < 1e-5).all()
    page = (measured / "projectors-cpu.md").read_text()
    assert page.index("## D = 700") < page.index("## D = 900") < page.index("## How to read")
    assert "Not measured" in (measured / "projectors-cuda.md").read_text()
    assert (measured / "figures" / "projectors-cpu-time.png").exists()


def test_the_same_command_measures_nothing_again(measured, capsys) -> None:
    before = (measured / "projectors-cpu.csv").read_bytes()
    assert run(*SMALL, "--out", str(measured)) == 0
    assert "8 of 8 cells are measured, 0 to come" in capsys.readouterr().out
    assert (measured / "projectors-cpu.csv").read_bytes() == before


def test_cells_of_another_machine_stay_and_ours_stand_beside_them(
    measured, tmp_path, capsys
) -> None:
    frame = pd.read_csv(measured / "projectors-cpu.csv")
    theirs = (measured / "projectors-cpu.csv").read_text().replace(str(frame.cpu[0]), "Another CPU")
    (tmp_path / "projectors-cpu.csv").write_text(theirs)
    one = ["compare", "--projectors", "hashed", "--native", "700", "--dims", "5"]
    assert run(*one, "--out", str(tmp_path)) == 0
    assert "holds cells of another machine and stays as it is" in capsys.readouterr().out
    assert (tmp_path / "projectors-cpu.csv").read_text() == theirs
    [ours] = tmp_path.glob("projectors-cpu-*.csv")
    assert list(pd.read_csv(ours).projector) == ["hashed"]
    page = ours.with_suffix(".md").read_text()
    assert f"[{ours.name}]({ours.name})" in page
    assert "Another CPU" not in page
    assert run(*one, "--out", str(tmp_path)) == 0
    assert "1 of 1 cells are measured, 0 to come" in capsys.readouterr().out


def test_what_failed_or_did_not_fit_is_tried_again(measured, tmp_path) -> None:
    frame = pd.read_csv(measured / "projectors-cpu.csv")
    frame.loc[0, "status"] = "does not fit: needs 90.0 GB"
    frame.loc[1, "status"] = "failed: its process ended with code -9, out of memory?"
    frame.loc[2, "status"] = "not measured: longer than 120 s"  # it would take as long again
    frame.to_csv(tmp_path / "projectors-cpu.csv", index=False)
    cells = Cells(tmp_path, "cpu", int(frame.threads[0]))
    cases = grid(["gaussian", "orthonormal"], [900, 700], [5, 40], "cpu", "float32")
    assert waiting(cases, cells) == cases[:2]


def test_the_page_is_of_one_number_of_threads_and_names_its_revisions(measured, tmp_path) -> None:
    frame = pd.read_csv(measured / "projectors-cpu.csv")
    frame.loc[0, "threads"] += 7
    frame.loc[1:, "revision"] = "aaaaaaaa"
    frame.loc[2, "revision"] = "bbbbbbbb+"
    frame.to_csv(tmp_path / "projectors-cpu.csv", index=False)
    cells = Cells(tmp_path, "cpu", int(frame.threads[1]))
    assert len(cells.rows) == 8
    assert len(cells.frame()) == 7
    said = projectors.about(cells, cells.frame())
    assert "several revisions stand here**: aaaaaaaa (6 cells), bbbbbbbb+ (1 cells)" in said


def test_time_that_is_up_leaves_cells_to_the_next_call(tmp_path, capsys) -> None:
    assert run(*SMALL, "--out", str(tmp_path), "--minutes", "0") == 0
    assert "time is up: 8 cells to come" in capsys.readouterr().out
    assert not (tmp_path / "projectors-cpu.csv").exists()


def test_a_page_says_how_many_cells_it_lacks(measured, tmp_path) -> None:
    assert "still to be measured" not in (measured / "projectors-cpu.md").read_text()
    frame = pd.read_csv(measured / "projectors-cpu.csv")
    frame[:5].to_csv(tmp_path / "projectors-cpu.csv", index=False)
    assert run(*SMALL, "--out", str(tmp_path), "--minutes", "0") == 0
    assert "**3 cells are still to be measured**" in (tmp_path / "projectors-cpu.md").read_text()


class Thread:
    """Takes the measuring process's place."""

    def __init__(self, pipe) -> None:
        self.thread = threading.Thread(target=worker.serve, args=(pipe,), daemon=True)
        self.thread.start()

    def is_alive(self) -> bool:
        return True

    def kill(self) -> None: ...

    def join(self) -> None: ...


@pytest.fixture
def served(monkeypatch):
    """A Bench in this process that measures what the test says: called with its generator."""

    def start(self) -> None:
        self.pipe, theirs = multiprocessing.Pipe()
        self.process = Thread(theirs)

    def serving(measure) -> worker.Bench:
        monkeypatch.setattr(worker, "measure", measure)
        monkeypatch.setattr(worker.Bench, "start", start)
        return worker.Bench()

    return serving


CASE = Case("gaussian", 700, 5)


def test_times_are_kept_where_the_time_ends_in_what_comes_after(served) -> None:
    def measure(case, repeat, threads):
        yield {"forward_ms": 1.0}
        time.sleep(60)

    found = served(measure).measure(CASE, 3, 1, seconds=0.5)
    assert found == {"status": "ok", "forward_ms": 1.0}


def test_times_are_kept_where_what_comes_after_fails(served) -> None:
    def measure(case, repeat, threads):
        yield {"forward_ms": 1.0}
        raise MemoryError

    assert served(measure).measure(CASE, 3, 1, seconds=20)["status"] == "ok"


def test_a_cell_that_fails_or_takes_too_long_says_so(served) -> None:
    def failing(case, repeat, threads):
        raise RuntimeError("no\nluck")
        yield

    def sleeping(case, repeat, threads):
        time.sleep(60)
        yield

    found = served(failing).measure(CASE, 3, 1, seconds=20)
    assert found["status"] == "failed: RuntimeError: no"
    found = served(sleeping).measure(CASE, 3, 1, seconds=0.2)
    assert found["status"].startswith("not measured: longer than")


def test_larger_d_is_not_tried_where_a_smaller_took_too_long(tmp_path, monkeypatch) -> None:
    late = {"status": "not measured: longer than 120 s"}
    asked = []
    monkeypatch.setattr(cells_module, "attempt", lambda case, *rest: asked.append(case) or late)
    monkeypatch.setattr(cells_module, "read_bandwidth", lambda *rest: 1e10)
    cases = grid(["gaussian", "hashed"], [700], [5, 40, 300], "cpu", "float32")
    cells = Cells(tmp_path, "cpu", 1)
    assert cells_module.run(cases, cells, 3, lambda *told: None) == 6
    assert asked == cases[:2]
    assert set(cells.frame().status[2:]) == {"not measured: takes too long already at d = 5"}


def test_a_cell_may_take_longer_the_larger_it_is() -> None:
    assert worker.limit(Case("hashed", 21_840, 10)) == pytest.approx(180, abs=1)
    assert worker.limit(Case("gaussian", 200_000, 10_000)) == 660


def test_what_does_not_fit_says_so_before_it_is_tried(tmp_path, capsys) -> None:
    sizes = ["--native", "1000000000", "--dims", "100000"]
    assert run("compare", "--projectors", "gaussian", *sizes, "--out", str(tmp_path)) == 0
    assert "does not fit: needs" in capsys.readouterr().out
    assert "does not fit: needs" in (tmp_path / "projectors-cpu.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--projectors", "gausian"], "unknown projector 'gausian'"),
        (["--native", "ten"], "--native is 'ten'"),
        (["--native", "10", "--dims", "11"], "nothing to compare"),
        (["--native", "10", "--dims", "0"], "nothing to compare"),
        (["--dtype", "int8"], "unknown dtype 'int8'"),
        (["--device", "tpu"], "unknown device 'tpu'"),
        (["--repeat", "0"], "--repeat is 0"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_2(arguments, said, tmp_path, capsys) -> None:
    assert run("compare", *arguments, "--out", str(tmp_path)) == 2
    error = capsys.readouterr().err
    assert said in error
    assert len(error.splitlines()) == 1


def test_a_table_that_is_none_of_ours_is_named(tmp_path) -> None:
    (tmp_path / "projectors-cpu.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UserError, match="is no table of cells"):
        Cells(tmp_path, "cpu", 1)


def test_cells_go_from_small_to_large() -> None:
    cases = grid(["gaussian"], [100, 50], [60, 10], "cpu", "float32")
    assert [(c.native, c.dim) for c in cases] == [(50, 10), (100, 10), (100, 60)]


def test_projectors_by_layers_stand_where_there_is_a_model() -> None:
    cases = grid(["fastfood", "fastfood-layers"], [900, 21_840], [5], "cpu", "float32")
    assert [(c.projector, c.native) for c in cases] == [
        ("fastfood", 900), ("fastfood", 21_840), ("fastfood-layers", 21_840),
    ]  # fmt: skip
    with pytest.raises(UserError, match="give --native the D of a model here, 21840 or 199210"):
        grid(["fastfood-layers"], [900], [5], "cpu", "float32")


def test_asv_times_cells_of_the_default_grid() -> None:
    every = grid(names(), tuple(NATIVE), DIMS, "cpu", "float32")
    assert set(small()) <= set(every)
    assert len(small()) <= 120


def test_a_row_reads_by_its_dtype_and_its_caches() -> None:
    row = {**cell("srht", 1000, 10, 2.0), "dtype": "bfloat16", "status": "ok", "read_gbs": 10.0,
           "resident_bytes": 0, "peak_bytes": 6000, "cache_bytes": 10**6, "norm_mean": 1.0,
           "norm_n": 3, "pairs": 25}  # fmt: skip
    row |= {f"{name}_{q}": 1.0 for name in ("forward", "transpose") for q in ("q25", "q75")}
    shown = projectors.shown_cell(row)
    assert shown["peak, θ"] == "3.0"  # copies of 2,000 bytes
    assert shown["GB/s"] == "0.00202*"  # twice 2,020 bytes in 2 ms, all in cache
    assert shown["held"] == "0"
    assert shown["‖Pω‖/‖ω‖"] == "1.000 ± 0.01 (3 ω)"
    assert shown["coherence"] == "0.02 (25 pairs)"
    assert shown["of read"] == "0%*"
    assert not projectors.shown_cell({**row, "cache_bytes": 0})["GB/s"].endswith("*")
    stored = {**row, "resident_bytes": 4e6, "cache_bytes": 0, "read_ms": 0.9}  # 4.44 GB/s
    assert projectors.shown_cell(stored)["of read"] == "90%"  # of 4 GB/s
    lost = projectors.shown_cell({**row, "norm_mean": float("nan"), "pairs": float("nan")})
    assert (lost["‖Pω‖/‖ω‖"], lost["coherence"]) == ("", "")


def cell(projector: str, native: int, dim: int, ms: float) -> dict[str, object]:
    half = {"forward_ms": ms / 2, "transpose_ms": ms / 2, "resident_bytes": 8e6, "setup_s": 0.1}
    quality = {"norm_sd": 0.01, "coherence": 0.02}
    return {"projector": projector, "native": native, "dim": dim, **half, **quality}
