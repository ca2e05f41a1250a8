"""The archive of `python -m benchmarks.gpu`: packed, damaged, imported into the pages."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import torch
from stored_record import FACTS, RESULT, RUN

from benchmarks.gpu import archive, importing, models, page
from benchmarks.gpu.__main__ import main
from benchmarks.gpu.log import Log
from subspace_bench.experiments import projectors as projectors_page
from subspace_bench.records.row_digest import COLUMN
from subspace_bench.records.store import Record, Store

RESULTS = Path(__file__).parents[2] / "results"
MACHINE = {"device": "cuda", "dry": False, "gpu": "Test GPU", "torch": "2", "triton": "3"}


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
            sources = "older" if row["item"].startswith("regenerated") else archive.sources_digest()
            Log(work / f"{stage}.jsonl").write({"seconds": 1.0, "sources": sources, **row})
    table = pd.read_csv(RESULTS / "projectors-cpu.csv", keep_default_na=False, dtype=str)
    table = table.assign(device="cuda", gpu=gpu, revision="")[table["native"] == "21840"]
    table = table.drop(columns=COLUMN)
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
    assert "| dense bf16 Pω  " in text
    assert "| regenerated signs Pω* " in text  # of older code
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


def test_what_an_archive_lacks_is_kept_of_an_earlier_one(tmp_path) -> None:
    log = Log(tmp_path / "peers.jsonl")
    old = {item: {"item": item, "status": "ok", "ours_ms": 1.0} for item in "abcde"}
    log.write({"planned": list("dcba")})
    for item, status in zip("abc", ("ok", "failed: no", "not measured: no time"), strict=True):
        log.write({"item": item, "status": status})
    log = Log.read(log.path)
    rows = importing.merge({"peers": log, "steps": Log(tmp_path)}, {"peers": old, "steps": old})
    found = {row["item"]: row for row in rows if row["stage"] == "peers"}
    assert list(found) == ["d", "c", "b", "a"]  # in the order planned; "e" is no item any more
    assert [row["status"] for row in found.values()] == ["ok", "ok", "failed: no", "ok"]
    assert [item for item, row in found.items() if "ours_ms" in row] == ["d", "c"]
    assert [row["item"] for row in rows if row["stage"] == "steps"] == list("abcde")


def test_the_committed_page_is_rebuilt_byte_for_byte(tmp_path) -> None:
    for path in RESULTS.glob("gpu*.*"):
        if path.suffix != ".md":
            shutil.copy(path, tmp_path)
    for path in page.rebuild(tmp_path):
        if path.suffix == ".md":  # figures depend on the version of matplotlib
            assert path.read_bytes() == (RESULTS / path.name).read_bytes()
