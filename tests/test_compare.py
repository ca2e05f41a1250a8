"""`subspace-bench compare`, through the command line: cells, resume, pages, and what cannot be."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from subspace_bench.cli import main
from subspace_bench.compare import advice
from subspace_bench.compare.advice import Measured
from subspace_bench.compare.cells import Cells, grid
from subspace_bench.errors import UserError
from subspace_bench.statistics import Sample

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
    assert (frame.held_bytes == 4 * frame.native * frame.dim).all()
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


def test_cells_of_another_machine_are_not_taken_for_ours(measured, tmp_path, capsys) -> None:
    csv = (measured / "projectors-cpu.csv").read_text()
    other = tmp_path / "projectors-cpu.csv"
    frame = pd.read_csv(measured / "projectors-cpu.csv")
    other.write_text(csv.replace(str(frame.cpu[0]), "Another CPU"))
    assert run(*SMALL, "--out", str(tmp_path), "--plan") == 0
    said = capsys.readouterr().out
    assert "0 of 8 cells are measured" in said
    assert "8 cells of another machine" in said


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


def cell(projector: str, native: int, dim: int, ms: float) -> dict[str, object]:
    half = {"forward_ms": ms / 2, "transpose_ms": ms / 2, "held_bytes": 8e6, "setup_s": 0.1}
    quality = {"norm_sd": 0.01, "coherence": 0.02}
    return {"projector": projector, "native": native, "dim": dim, **half, **quality}


def test_advice_is_computed_from_the_cells() -> None:
    names = ("gaussian", "fastfood", "srht", "hashed")
    times = {(1000, 10): (1, 3, 4, 2), (10**6, 10): (50, 30, 20, 5)}
    rows = [
        cell(name, *at, ms)
        for at, found in times.items()
        for name, ms in zip(names, found, strict=True)
    ]
    accuracies = {
        ("hashed", 1000): Sample((96.0, 97.0)), ("orthonormal", 1000): Sample((97.0, 98.0)),
    }  # fmt: skip
    said = advice.lines(Measured(pd.DataFrame(rows), accuracies))
    assert "up to D·d = 10,000 (1,000 × 10: 1 ms" in said[0]
    assert "slower from 10,000,000 on (1,000,000 × 10: 50 against 20 ms)" in said[0]
    assert "`srht` holds 8 MB" in said[1]
    assert "6.0 times faster than Fastfood" in said[2]
    assert "loses 1.00 points against `orthonormal` at d = 1,000" in said[2]
    assert "97.50% (`orthonormal`) to 96.50% (`hashed`)" in said[3]
    assert advice.lines(Measured(pd.DataFrame(), {})) == []
