"""The command line as a user calls it; all output goes to tmp_path."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from command_line import TINY, run

from subspace_bench import models, projectors
from subspace_bench.datasets import catalog, download, loading
from subspace_bench.datasets.embedded import embedded_digits
from subspace_bench.datasets.locate import DATA_VARIABLE
from subspace_bench.experiments import STUDIES, study
from subspace_bench.records.config import RunConfig
from subspace_bench.records.store import Store
from subspace_bench.training import runner

COMMANDS = (
    "reproduce",
    "train",
    "report",
    "list",
    "data",
    "compare",
    "dimension",
    "check",
    "export",
)


def test_help_answers_without_torch() -> None:
    """Torch alone would make every --help take seconds."""
    code = (
        "import sys, subspace_bench.cli as cli\n"
        f"for name in {COMMANDS}:\n"
        "    try: cli.main([name, '--help'])\n"
        "    except SystemExit as end: assert not end.code\n"
        "heavy = {'torch', 'pandas', 'numpy', 'scipy', 'matplotlib', 'numba'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert all(f"Usage: subspace-bench {name}" in done.stdout for name in COMMANDS)


def test_version() -> None:
    assert run("--version").stdout.startswith("subspace-bench 0.")


@pytest.mark.usefixtures("forked_workers")
def test_train_shows_the_curve_and_keeps_a_record(call, tmp_path: Path, monkeypatch) -> None:
    options = (*TINY, "--dim", "10", "--steps", "3", "--out", str(tmp_path))
    code, out, _ = call(*options)
    assert code == 0
    assert "update       1" in out
    assert "10 of 12,730" in out
    store = Store(tmp_path / "runs")
    [record] = store.records()
    assert record.run.dim == 10
    assert record.run.protocol.batch == 256
    assert (record.run.projector, record.run.origin) == ("orthonormal", "zero")
    assert str(store.path(record.run)) in out
    assert "update       1" not in call(*options)[1]

    path, text = store.path(record.run), store.path(record.run).read_text()
    path.write_text(text.replace('"accuracy_end": ', '"accuracy_end": 9'))
    code, _, err = call(*options)
    assert code == 2
    assert str(path) in err
    assert err.count("\n") == 1
    assert path.exists()

    path.write_text(text)
    asked: list[list[RunConfig]] = []
    monkeypatch.setattr(runner, "train_all", lambda runs, *_: asked.append(runs) or [])
    assert call(*options, "--force")[0] == 0
    assert asked == [[record.run]]
    assert not path.exists()


def test_a_corrupt_data_file_is_named(call, tmp_path: Path) -> None:
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in catalog.FILES:
        (raw / name).write_bytes(b"not MNIST")
    for words in ("data", f"train --steps 1 --out {tmp_path / 'out'}"):
        code, _, err = call(*words.split(), "--data", str(tmp_path))
        assert code == 2
        assert str(raw) in err
        assert err.count("\n") == 1


def test_a_file_that_was_deleted_is_fetched_into_the_named_folder(
    call, tmp_path: Path, monkeypatch
) -> None:
    asked: list[tuple[str, Path]] = []
    monkeypatch.setattr(download, "download", lambda name, root: asked.append((name, root)))
    monkeypatch.setattr(loading, "load", lambda name, root: embedded_digits())
    raw = tmp_path / "MNIST" / "raw"
    raw.mkdir(parents=True)
    for name in catalog.FILES[1:]:
        (raw / name).write_bytes(b"")
    assert call("data", "--data", str(tmp_path))[0] == 0
    monkeypatch.setenv(DATA_VARIABLE, str(tmp_path))
    assert call("data")[0] == 0
    assert asked == [("mnist", tmp_path)] * 2
    (raw / catalog.FILES[0]).write_bytes(b"")
    assert call("data")[0] == 0
    assert len(asked) == 2


def test_plan_says_what_is_to_come_and_makes_nothing(call, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    out = tmp_path / "out"
    code, output, _ = call("reproduce", "subspace", "--plan", "--out", str(out), "--device", "cpu")
    assert code == 0
    assert "would be downloaded" in output
    assert "conv d=10,000 seed 0" in output
    assert "4 to train: about" in output
    assert not out.exists()
    assert not (tmp_path / "cache" / "subspace-bench").exists()


def test_list_names_everything(call, tmp_path: Path) -> None:
    code, out, _ = call("list", "--out", str(tmp_path))
    assert code == 0
    for name in (*STUDIES, *models.MODELS, *projectors.names(), "committed", "local"):
        assert name in out


def test_report_writes_pages_without_data(call, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv(DATA_VARIABLE, "/nosuch")
    code, out, _ = call("report", "mnist-lite", "--out", str(tmp_path))
    assert code == 0
    for name in ("mnist-lite.md", "mnist-lite.csv", "README.md"):
        assert str(tmp_path / name) in out
        assert (tmp_path / name).exists()


@pytest.mark.slow
@pytest.mark.usefixtures("forked_workers", "no_committed_records")
def test_a_page_is_reproduced_from_nothing_to_its_page(call, tmp_path: Path, monkeypatch) -> None:
    """Four models in worker processes, on the embedded digits; shorter than quick runs are."""
    monkeypatch.setattr(study, "QUICK", (501, 3_000))
    monkeypatch.setattr(loading, "load_or_embedded", lambda name, root: embedded_digits())
    asked = ("reproduce", "mnist-lite", "--profile", "quick", "--device", "cpu")
    code, _, err = call(*asked, "--out", str(tmp_path))
    assert code == 0, err
    records = list(Store(tmp_path / "runs").records())
    assert sorted(r.run.model for r in records) == ["cnn-10754", "cnn-3369", "mlp-16", "mlp-32"]
    assert all(r.result["accuracy"] > 80 for r in records)
    assert all(r.result["native_dimension"] > 3_000 for r in records)
    page = (tmp_path / "mnist-lite.md").read_text()
    assert page.count("(n = 1)") >= 4
    code, out, _ = call(*asked, "--out", str(tmp_path))
    assert code == 0
    assert "nothing to train" in out
    assert (tmp_path / "mnist-lite.md").read_text() == page
    assert (tmp_path / "README.md").exists()


def test_data_says_where_and_whether_it_verifies(call) -> None:
    code, out, _ = call("data", "--dataset", "mnist-5k")
    assert code == 0
    assert "4,000" in out
    assert "1,000" in out
    assert embedded_digits().digest in out


def test_interrupted_before_it_trains_it_says_so(call, tmp_path: Path, capsys, monkeypatch) -> None:
    def pressed(*_: object) -> None:
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10)

    monkeypatch.setattr("subspace_bench.datasets.loading.load", pressed)
    monkeypatch.setattr("sys.argv", ["subspace-bench", "train"])  # the message repeats it
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "another.checkpoint").write_bytes(b"")
    code, _, err = call(*TINY, "--steps", "1", "--out", str(tmp_path))
    assert code == 130
    assert "checkpoint" not in err
