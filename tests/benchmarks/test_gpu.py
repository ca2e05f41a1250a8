"""`python -m benchmarks.gpu` without a GPU: every stage dry, what fails, resuming."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import fake_cuda
import gpu_stage
import pytest
import torch
from stored_record import FACTS, RESULT

from benchmarks.gpu import archive, costs, facts, importing, planned, runner, tables, worker
from benchmarks.gpu.__main__ import main
from benchmarks.gpu.log import Log
from benchmarks.gpu.stages import STAGES, Setting
from subspace_bench.common.errors import UserError
from subspace_bench.profiling.stopwatch import Stopwatch, quartiles
from subspace_bench.records.store import Record
from subspace_bench.training import presets

RESULTS = Path(__file__).parents[2] / "results"


# What needs a real device: replays of a graph, and Adam within one.
NEEDS = ("a replay is off", "capturable")


@pytest.fixture(scope="module")
def dry(tmp_path_factory) -> Path:
    """The results of all stages, run dry: on the CPU in `cpu`, and as on a GPU in `cuda`."""
    folder, script = tmp_path_factory.mktemp("dry"), fake_cuda.__file__
    paths = [str(RESULTS.parent), str(Path(script).parent), os.environ.get("PYTHONPATH", "")]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "TRITON_INTERPRET": "1"}
    command = [sys.executable, script, str(folder)]
    run = subprocess.run(command, env=env, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr
    return folder


# Not parametrised: stages in different workers of pytest-xdist would each need `dry`, a minute.
@pytest.mark.slow
def test_every_stage_runs_dry(dry) -> None:
    for stage in STAGES:
        if stage == "kernels" and find_spec("triton") is None:
            continue
        log = Log.read(dry / "cpu" / f"{stage}.jsonl")
        assert log.planned, stage
        assert list(log.rows) == log.planned
        kinds = {row["status"].partition(":")[0] for row in log.rows.values()}
        assert kinds <= {"ok", "left out"}, unsuccessful(log)


@pytest.mark.slow
def test_the_branches_for_cuda_run(dry) -> None:
    for stage in fake_cuda.FAKED:
        log = Log.read(dry / "cuda" / f"{stage}.jsonl")
        assert list(log.rows) == log.planned, stage
        assert not [s for s in unsuccessful(log) if not any(text in s for text in NEEDS)]


def unsuccessful(log: Log) -> list[str]:
    """The statuses of what failed."""
    return [row["status"] for row in log.rows.values() if "failed" in row["status"]]


@pytest.mark.slow
def test_the_command_leaves_one_archive(tmp_path) -> None:
    arguments = ["--device", "cpu", "--dry", "--only", "ceilings", "--minutes", "9"]
    assert main([*arguments, "--out", str(tmp_path)]) == 0
    assert [path.name for path in tmp_path.iterdir()] == [archive.NAME]
    archive.unpack(tmp_path / archive.NAME, tmp_path / "work")
    log = Log.read(tmp_path / "work" / "ceilings.jsonl")
    assert list(log.rows) == log.planned
    with pytest.raises(UserError, match="dry"):
        importing.import_archive(tmp_path / archive.NAME, tmp_path / "results")


@pytest.fixture
def every_ending(tmp_path, monkeypatch) -> Setting:
    def command(stage, setting, seconds) -> list[str]:
        return [sys.executable, gpu_stage.__file__, str(setting.work), str(seconds)]

    monkeypatch.setattr(runner, "worker_command", command)
    return Setting("cpu", True, tmp_path)


@pytest.mark.slow
def test_what_fails_fails_alone_and_is_tried_again_later(every_ending) -> None:
    lines: list[str] = []
    runner.run_stages([gpu_stage.STAGE], every_ending, 60, lambda: None, lines.append)
    path = every_ending.work / "every-ending.jsonl"
    rows = Log.read(path).rows
    assert {name: row["status"].partition(":")[0] for name, row in rows.items()} == {
        "first": "ok",
        "fails": "failed",
        "misses": "left out",
        "dies": "failed",
        "hangs": "not measured",
        "does not fit": "does not fit",
        "last": "ok",
    }
    assert rows["fails"]["status"] == "failed: ValueError: first line"
    assert (rows["first"]["value"], rows["last"]["value"]) == (1.5, 2.5)
    assert "SIGKILL" in rows["dies"]["status"]
    assert len(lines) == 1
    assert lines[0].splitlines()[0].startswith("every-ending (every ending): 2 done, 2 failed")
    log = Log.read(path)
    log.forget_unsuccessful()
    assert list(Log.read(path).rows) == ["first", "last"]


def test_a_stage_whose_device_is_gone_ends(every_ending, monkeypatch) -> None:
    calls: list[str] = []

    def lose(stage, setting, end, save) -> str:
        """The device answers no more: after two items, then at once."""
        calls.append(stage.name)
        log = Log.read(setting.work / f"{stage.name}.jsonl")
        if len(calls) < 3:
            log.write({"item": f"item {len(calls)}", "status": "ok"})
        return "again"

    monkeypatch.setattr(runner, "run_process", lose)
    log = runner.run_stage(gpu_stage.STAGE, every_ending, 60, lambda: None)
    assert len(calls) == 2 + runner.MOST_VAIN
    assert log.rows["process"]["status"].startswith("failed: ")
    assert log.successes == 2


def test_too_little_memory_is_no_failure() -> None:
    status = worker.describe(torch.OutOfMemoryError("CUDA out of memory.\nTried …"))
    assert status == "does not fit: OutOfMemoryError: CUDA out of memory."


def test_nets_that_do_not_fit_the_device_are_not_trained(tmp_path, monkeypatch) -> None:
    runs = [replace(presets.post("conv", 10_000, 10), seed=seed) for seed in range(5)]
    setting = Setting("cpu", True, tmp_path)
    monkeypatch.setattr(costs, "free_memory", lambda device: 1e12)
    assert costs.fits_device(runs[0], 5, setting)
    monkeypatch.setattr(costs, "free_memory", lambda device: 4e9)  # five P's have 4.4 GB
    assert tables.train_cell(runs, setting)["status"].startswith("does not fit")
    assert not list(tmp_path.iterdir())


def test_an_old_driver_is_one_line(tmp_path, monkeypatch, capsys) -> None:
    def too_old() -> bool:
        warnings.warn("The NVIDIA driver is too old (found 1).\nPlease update.", stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", too_old)
    assert main(["--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert message.count("\n") == 1
    assert "too old (found 1)" in message
    assert not (tmp_path / "out").exists()


def test_a_stage_without_time_is_not_started(every_ending) -> None:
    lines: list[str] = []
    runner.run_stages([gpu_stage.STAGE], every_ending, 0.5, lambda: None, lines.append)
    assert lines == ["every-ending: not started, no time is left"]


def test_a_stage_that_does_not_import_is_one_failure(tmp_path, monkeypatch) -> None:
    setting = Setting("cpu", True, tmp_path)
    monkeypatch.setitem(sys.modules, "benchmarks.gpu.ceilings", None)
    from benchmarks.gpu.worker import work

    assert work(STAGES["ceilings"], setting, 5) == 0
    assert Log.read(tmp_path / "ceilings.jsonl").rows["import"]["status"].startswith("left out")


def test_stages_in_the_order_asked_for() -> None:
    usual = [s.name for s in runner.chosen_stages(None, None)]
    assert usual == [name for name in STAGES if name != "planned"]
    assert [s.name for s in runner.chosen_stages(["peers", "steps"], None)] == ["peers", "steps"]
    first = [s.name for s in runner.chosen_stages(None, "peers")]
    assert first == ["peers", *(name for name in usual if name != "peers")]
    assert [s.name for s in runner.chosen_stages(None, "planned")] == ["planned", *usual]


def test_only_planned_seeds_that_are_missing_are_trained(monkeypatch) -> None:
    monkeypatch.setattr(planned, "committed_store", lambda: ())
    every = planned.missing_seeds("cuda")
    assert [run.seed for run in every["conv, d = 10,000"]] == list(range(12))
    committed = [Record(replace(run, device="cpu"), RESULT, FACTS)
                 for run in every["conv, d = 10,000"][:5]]  # fmt: skip
    monkeypatch.setattr(planned, "committed_store", lambda: committed)
    left = planned.missing_seeds("cuda")
    assert [run.seed for run in left["conv, d = 10,000"]] == list(range(5, 12))
    assert left.keys() == every.keys()


@pytest.mark.slow
def test_a_run_resumes_only_on_the_same_device(tmp_path, capsys) -> None:
    arguments = ["--device", "cpu", "--dry", "--only", "ceilings", "--out", str(tmp_path)]
    work, path = tmp_path / "work", tmp_path / archive.NAME
    done = {"item": "copy", "status": "ok", "seconds": 0, "value": 7.0}
    Log(work / "ceilings.jsonl").write(done)
    here = facts.collect("cpu", dry=True)
    archive.pack(work, path, {**here, "sources": "other"})
    assert main([*arguments, "--minutes", "0.06"]) == 0  # about too short to start
    archive.unpack(path, tmp_path / "again")
    assert Log.read(tmp_path / "again" / "ceilings.jsonl").rows["copy"]["value"] == 7.0
    archive.pack(work, path, {**here, "gpu": "another"})
    assert main(arguments) == 2
    assert "another" in capsys.readouterr().err


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_without_a_device_nothing_is_written(tmp_path, capsys) -> None:
    out = tmp_path / "out"
    assert main(["--out", str(out)]) == 2
    assert main(["--device", "cpu", "--out", str(out)]) == 2
    assert main(["--device", "cpu", "--dry", "--minutes", "0", "--out", str(out)]) == 2
    assert not out.exists()


def test_a_stopwatch_counts_calls_on_the_cpu() -> None:
    calls: list[int] = []
    watch = Stopwatch("cpu")
    assert watch.device_seconds(lambda: calls.append(1)) >= 0
    assert watch.launch_seconds(lambda: calls.append(1), calls=4) >= 0
    assert len(calls) == 5
    assert len(watch.graph_seconds(lambda: calls.append(1), repeat=2)) == 2
    assert quartiles("a", [0.002, 0.001, 0.003]) == {
        "a_ms": 2.0, "a_q25": 1.5, "a_q75": 2.5, "a_n": 3,
    }  # fmt: skip
