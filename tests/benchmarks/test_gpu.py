"""`python -m benchmarks.gpu` without a GPU: every stage dry, archives, resuming, importing."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import fake_cuda
import gpu_stage
import pandas as pd
import pytest
import torch
from stored_record import FACTS, RESULT, RUN

from benchmarks.gpu import archive, facts, importing, models, page, runner, worker
from benchmarks.gpu.__main__ import main
from benchmarks.gpu.log import Log
from benchmarks.gpu.stages import STAGES, Setting
from subspace_bench.common.errors import UserError
from subspace_bench.experiments import projectors as projectors_page
from subspace_bench.profiling.stopwatch import Stopwatch, quartiles
from subspace_bench.records.store import Record, Store

RESULTS = Path(__file__).parents[2] / "results"
MACHINE = {"device": "cuda", "dry": False, "gpu": "Test GPU", "torch": "2", "triton": "3"}


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


@pytest.mark.slow
@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_runs_dry(stage, dry) -> None:
    if stage == "kernels":
        pytest.importorskip("triton")
    log = Log.read(dry / "cpu" / f"{stage}.jsonl")
    assert log.planned
    assert list(log.rows) == log.planned
    kinds = {row["status"].partition(":")[0] for row in log.rows.values()}
    assert kinds <= {"ok", "left out"}, [r for r in log.rows.values() if "failed" in r["status"]]


@pytest.mark.slow
@pytest.mark.parametrize("stage", fake_cuda.FAKED)
def test_the_branches_for_cuda_run(stage, dry) -> None:
    log = Log.read(dry / "cuda" / f"{stage}.jsonl")
    assert list(log.rows) == log.planned
    failed = [row["status"] for row in log.rows.values() if "failed" in row["status"]]
    assert not [status for status in failed if not any(text in status for text in NEEDS)]


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
    assert [s.name for s in runner.chosen_stages(None, None)] == list(STAGES)
    assert [s.name for s in runner.chosen_stages("peers", None)] == ["peers"]
    first = [s.name for s in runner.chosen_stages(None, "tests")]
    assert first == ["tests", *(name for name in STAGES if name != "tests")]


def test_archives_come_back_as_they_were(tmp_path) -> None:
    work, path = tmp_path / "work", tmp_path / archive.NAME
    work.mkdir()
    (work / "a.jsonl").write_text("é\n")
    assert archive.pack(work, path, {"gpu": "x"}) == []
    manifest = archive.unpack(path, tmp_path / "again")
    assert manifest["facts"] == {"gpu": "x"}
    assert (tmp_path / "again" / "a.jsonl").read_bytes() == (work / "a.jsonl").read_bytes()


def test_the_largest_files_are_left_out_of_a_large_archive(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(archive, "MOST_BYTES", 2_000)
    work, path = tmp_path / "work", tmp_path / archive.NAME
    work.mkdir()
    noise = torch.randint(256, (5_000,), dtype=torch.uint8)
    (work / "large").write_bytes(noise.numpy().tobytes())
    (work / "small").write_text("kept")
    assert archive.pack(work, path, {}) == ["large"]
    assert path.stat().st_size <= 2_000
    assert archive.unpack(path, tmp_path / "again")["left_out"] == ["large"]
    assert [p.name for p in (tmp_path / "again").iterdir()] == ["small"]


@pytest.mark.parametrize("damage", ["absent", "cut", "changed", "text", "outside"])
def test_damaged_archives_are_refused(damage, tmp_path, capsys) -> None:
    work, path = tmp_path / "work", tmp_path / archive.NAME
    work.mkdir()
    (work / "a.jsonl").write_text("1\n" * 10_000)
    if damage == "text":
        path.write_text("no archive")
    elif damage == "outside":
        hashes = {"../b": hashlib.sha256().hexdigest()}
        text = json.dumps({"format": archive.FORMAT, "facts": {}, "sha256": hashes})
        path.write_bytes(archive.compress({archive.MANIFEST: text.encode(), "../b": b""}))
    elif damage != "absent":
        archive.pack(work, path, MACHINE)
        content = path.read_bytes()
        if damage == "cut":
            path.write_bytes(content[: len(content) // 2])
        else:
            manifest = {"format": archive.FORMAT, "facts": {}, "sha256": {"a.jsonl": "0" * 64}}
            files = {archive.MANIFEST: json.dumps(manifest).encode(), "a.jsonl": b"1\n"}
            path.write_bytes(archive.compress(files))
    assert main(["--import", str(path), "--out", str(tmp_path / "results")]) == 2
    assert str(path) in capsys.readouterr().err
    assert not (tmp_path / "results").exists()
    assert not (tmp_path / "b").exists()


def make_archive(tmp_path: Path, gpu: str) -> Path:
    """An archive with rows as the stages write them."""
    work, path = tmp_path / f"work {gpu}", tmp_path / f"{gpu}.tar.gz"
    written = {
        "ceilings": [{"item": "copy", "status": "ok", "value": 2000.0, "unit": "GB/s"}],
        "kernels": [
            {"item": "dense bf16 Pω", "status": "ok", "device_ms": 0.25, "gbs": 1000.0,
             "moved_bytes": 250_000_000, "ceiling": "copy", "target": 0.85},
            {"item": "regenerated signs Pω", "status": "ok", "device_ms": 0.5, "gbs": 1.0,
             "moved_bytes": 500_000, "ceiling": "copy", "target": 0.0, "entries_per_s": 4e11},
        ],
        "steps": [
            {"item": f"{nets} nets, d = D", "status": "ok", "nets": nets, "step_ms": 1.0,
             "bytes": 2_000_000_000, "operations": 1e9, "nets_per_s": nets / 2} for nets in (1, 5)
        ],
        "tables": [
            {"item": "conv", "status": "ok", "nets": 5, "steps": 1000, "seconds_set_up": 1.0,
             "seconds_training": 2.0, "bytes": 1_000_000, "operations": 1e9, "dataset": "mnist",
             "accuracy": 90.0, "accuracy_sd": 0.5, "cpu_nets": 20, "cpu_accuracy": 91.0,
             "cpu_accuracy_sd": 0.25},
        ],
        "correctness": [
            {"item": "map: hashed 301 × 7", "status": "ok", "float32": 1e-7, "float64": 0.0},
            {"item": "map: sparse 301 × 7", "status": "failed: error 1 in float32"},
        ],
        "peers": [{"item": "dense", "status": "ok", "ours_ms": 1.0, "times_ours": 2.0},
                  {"item": "cut", "status": "started", "limit": 9, "time": 0}],
    }  # fmt: skip
    for stage, rows in written.items():
        for row in rows:
            Log(work / f"{stage}.jsonl").write({"seconds": 1.0, **row})
    table = pd.read_csv(RESULTS / "projectors-cpu.csv", keep_default_na=False, dtype=str)
    table = table.assign(device="cuda", gpu=gpu, revision="")[table["native"] == "21840"]
    table.to_csv(work / "projectors-cuda.csv", index=False, lineterminator="\n")
    record = Record(replace(RUN, batched=True), RESULT, {**FACTS, "batched_seeds": [0, 1]})
    Store(work / "records").put(record)
    archive.pack(work, path, {**MACHINE, "gpu": gpu, "sources": archive.sources_digest()})
    return path


@pytest.mark.slow
def test_imported_results_land_in_the_pages(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(archive, "sources_digest", lambda: "0" * 12)
    monkeypatch.setattr(projectors_page, "accuracies", lambda evidence: {})  # takes seconds
    out = tmp_path / "results"
    assert main(["--import", str(make_archive(tmp_path, "A")), "--out", str(out)]) == 0
    text = (out / "gpu.md").read_text()
    assert text.startswith("# On A:")
    numbers = pd.read_csv(out / "gpu.csv")
    assert list(numbers["stage"].value_counts().sort_index()) == [1, 2, 2, 1, 2, 1]
    assert json.loads((out / "gpu.json").read_text())["gpu"] == "A"
    ceilings = {"copy": 2000.0, "read": 1000.0, "GEMM float32": 10.0}
    of = dict(iter(numbers.groupby("stage")))
    kernels = models.kernels_table(of["kernels"], ceilings)
    assert list(kernels["model, ms"]) == ["0.125", ""]
    assert list(kernels["of the limit"]) == ["50% of copy", ""]
    assert list(kernels["target"]) == ["85%", ""]
    assert list(kernels["10⁹ entries/s"]) == ["", "400"]
    steps = models.steps_table(of["steps"], ceilings)
    assert list(steps["bytes allow, ms"]) == ["2", "2"]
    assert list(steps["operations allow, ms"]) == ["0.1", "0.1"]
    assert list(steps["models per second"]) == ["0.5", "2.5"]
    cells = models.tables_table(of["tables"], ceilings).iloc[0]
    assert cells["operations allow, s"] == "0.1"
    assert cells["batched on the GPU, %"] == "90.00 ± 0.50"
    assert cells["alone on a CPU, %"] == "91.00 ± 0.25 (20)"
    assert models.whole_seconds(of["tables"]) == 3.0
    assert (out / "figures" / "gpu-models.svg").is_file()
    [record] = Store(out / "records-batched").records()
    assert record.provenance["batched_seeds"] == [0, 1]
    assert page.unsuccessful(numbers)["item"].tolist() == ["map: sparse 301 × 7"]
    assert "What projectors cost on A" in (out / "projectors-cuda.md").read_text()

    # Another GPU's results are put beside them; the same GPU's replace them.
    assert main(["--import", str(make_archive(tmp_path, "B 2")), "--out", str(out)]) == 0
    assert (out / "gpu.md").read_text() == text
    assert (out / "gpu-b-2.md").read_text().startswith("# On B 2:")
    assert len(list(out.glob("projectors-cuda*.csv"))) == 2
    before = {path: path.read_bytes() for path in out.iterdir() if path.is_file()}
    assert main(["--import", str(make_archive(tmp_path, "A")), "--out", str(out)]) == 0
    assert before == {path: path.read_bytes() for path in out.iterdir() if path.is_file()}


def test_the_committed_page_is_rebuilt_byte_for_byte(tmp_path) -> None:
    for path in RESULTS.glob("gpu*.*"):
        if path.suffix != ".md":
            shutil.copy(path, tmp_path)
    for path in page.rebuild(tmp_path):
        assert path.read_bytes() == (RESULTS / path.name).read_bytes()


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
