"""`subspace-bench compare`: cases, resume, pages, and bad input."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
import torch

from subspace_bench.cli import main
from subspace_bench.cli.compare import exit_code
from subspace_bench.profiling import timing
from subspace_bench.records.row_digest import COLUMN

SIZES = ["--native", "900,700", "--dims", "40"]
GRID = ["compare", "--projectors", "gaussian,orthonormal", *SIZES]


def run(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        main([*arguments])
    return int(ended.value.code or 0)


@pytest.fixture(scope="module")
def little_is_read():
    """The bandwidth of memory is measured with 4 MB instead of 1 GB."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(timing, "allocate_ones", lambda count, device: torch.ones(1_000_000))
        yield


pytestmark = pytest.mark.usefixtures("no_committed_records", "little_is_read")


@pytest.fixture(scope="module")
def measured(no_committed_records, little_is_read, forked_workers, tmp_path_factory) -> Path:
    """The output folder of a small grid."""
    out = tmp_path_factory.mktemp("compare")
    assert run(*GRID, "--out", str(out)) == 0
    return out


def test_every_case_is_measured_and_the_page_written(measured) -> None:
    frame = pd.read_csv(measured / "projectors-cpu.csv")
    assert len(frame) == 4
    assert (frame.status == "ok").all()
    assert (frame.resident_bytes == 4 * frame.native * frame.dim).all()
    assert (frame.forward_ms > 0).all()
    assert (frame.forward_q25 <= frame.forward_ms).all()
    orthonormal = frame[frame.projector == "orthonormal"]
    assert (orthonormal.norm_sd < 1e-5).all()
    assert (orthonormal.coherence < 1e-5).all()
    page = (measured / "projectors-cpu.md").read_text()
    assert page.index("## D = 700") < page.index("## D = 900")
    assert (measured / "figures" / "projectors-cpu-time.png").exists()


@pytest.mark.slow
def test_finished_cases_are_not_measured_again(measured) -> None:
    files = measured / "projectors-cpu.csv", measured / "projectors-cpu.md"
    before = [file.read_bytes() for file in files]
    assert run(*GRID, "--out", str(measured)) == 0
    assert run("compare", "--rebuild", "--out", str(measured)) == 0
    assert [file.read_bytes() for file in files] == before


def test_an_empty_budget_measures_nothing(tmp_path) -> None:
    assert run(*GRID, "--out", str(tmp_path), "--minutes", "0") == 0
    assert not list(tmp_path.iterdir())


def test_a_plan_measures_nothing(tmp_path, capsys) -> None:
    assert run(*GRID, "--out", str(tmp_path), "--plan") == 0
    assert "gaussian 900 × 40" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())


def test_a_page_counts_missing_cases(measured, tmp_path) -> None:
    frame = pd.read_csv(measured / "projectors-cpu.csv")
    frame[:1].to_csv(tmp_path / "projectors-cpu.csv", index=False)
    assert run(*GRID, "--out", str(tmp_path), "--minutes", "0") == 0
    lines = (tmp_path / "projectors-cpu.md").read_text().splitlines()
    [missing] = [line for line in lines if line.startswith("| cases still to be measured")]
    assert missing.split("|")[2].strip() == "3"


@pytest.mark.slow
def test_another_machine_keeps_its_page_and_too_large_cases_are_recorded(
    measured, tmp_path
) -> None:
    theirs = pd.read_csv(measured / "projectors-cpu.csv").assign(cpu="Another CPU")
    theirs.drop(columns=COLUMN).to_csv(tmp_path / "projectors-cpu.csv", index=False)
    before = (tmp_path / "projectors-cpu.csv").read_bytes()
    too_large = ["compare", "--projectors", "gaussian", "--native", "1000000000"]
    assert run(*too_large, "--dims", "100000", "--out", str(tmp_path)) == 0
    assert (tmp_path / "projectors-cpu.csv").read_bytes() == before
    [ours] = tmp_path.glob("projectors-cpu-*.csv")
    [status] = pd.read_csv(ours).status
    assert status.startswith("does not fit")
    page = ours.with_suffix(".md").read_text()
    assert f"[{ours.name}]({ours.name})" in page
    assert "Another CPU" not in page


@pytest.mark.parametrize(
    ("statuses", "code"),
    [
        ([], 0),
        (["ok", "does not fit: needs 4 GB"], 0),
        (["ok", "failed: ValueError: no"], 1),
        (["failed: ValueError: no", "does not fit: needs 4 GB"], 2),
    ],
)
def test_exit_codes(statuses: list[str], code: int) -> None:
    assert exit_code(statuses) == code
