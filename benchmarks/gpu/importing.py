"""An archive of a GPU machine → `gpu.csv`, `gpu.json`, `projectors-cuda.csv` and their pages, and
the records of batched runs."""

from __future__ import annotations

import re
import sys
import tempfile
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks import measurements
from benchmarks.gpu import archive, page, planned
from benchmarks.gpu.log import STARTED, Log, Row
from benchmarks.gpu.stages import STAGES
from subspace_bench.common.errors import UserError
from subspace_bench.common.files import digest
from subspace_bench.experiments.projectors import write_page_of
from subspace_bench.profiling.table import MACHINE, open_csv
from subspace_bench.records import provenance
from subspace_bench.records.store import Store

TABLE = "projectors-cuda"
NOT_STARTED = "not measured: no time was left"
HIDDEN = ("limit", "time")  # of a row
RECORDS = "records"  # folder of the archive, and of committed records


def import_archive(path: Path, out: Path) -> list[Path]:
    """Writes what an archive has into `out`, and returns the paths of the pages.

    Results of another GPU that are there already stay: the new ones are named after their GPU.

    Raises:
        UserError: for a damaged archive, or one of a dry run.
    """
    with tempfile.TemporaryDirectory(prefix="benchmarks-gpu-") as folder:
        work = Path(folder)
        manifest = archive.unpack(path, work)
        facts: dict[str, Any] = manifest["facts"]
        if facts["dry"]:
            raise UserError(f"{path} is of a dry run, whose numbers mean nothing")
        facts |= origin(facts["sources"])
        written = []
        logs = {stage: Log.read(work / f"{stage}.jsonl") for stage in STAGES}
        if any(log.rows for log in logs.values()):
            name = file_name(out, facts)
            rows = merge(logs, earlier_rows(name, out))
            frame = pd.DataFrame(rows).assign(seconds=lambda f: f["seconds"].fillna(0.0))
            measurements.save(name, out, frame, facts)
            written += page.rebuild(out)
        import_records(work / RECORDS, out / f"{RECORDS}-batched")
        import_records(work / planned.RECORDS, out / RECORDS)
        if (work / f"{TABLE}.csv").is_file():
            written += import_table(work / f"{TABLE}.csv", out, facts["revision"])
    return written


def earlier_rows(name: str, out: Path) -> dict[str, dict[str, Row]]:
    """Stage → item → its row in the same GPU's table, if there is one."""
    found: dict[str, dict[str, Row]] = {stage: {} for stage in STAGES}
    if (out / f"{name}.json").is_file():
        for row in measurements.load(name, out).numbers.to_dict("records"):
            given = {str(k): v for k, v in row.items() if not pd.isna(v)}
            found.setdefault(given["stage"], {})[given["item"]] = given
    return found


def merge(logs: dict[str, Log], earlier: dict[str, dict[str, Row]]) -> list[Row]:
    """The rows of an archive; of what it has not measured, an earlier one's."""
    rows = []
    for stage, log in logs.items():
        old, new = earlier[stage], {k: r for k, r in log.rows.items() if r["status"] != STARTED}
        for item in dict.fromkeys([*log.planned, *new] if new else old):
            row = new.get(item, {"item": item, "status": NOT_STARTED})
            if not row["status"].startswith(("ok", "failed")):
                row = old.get(item, row)
            if stage != "projectors" or row["status"] != NOT_STARTED:  # too many cases
                rows.append({"stage": stage, **{k: v for k, v in row.items() if k not in HIDDEN}})
    return rows


def import_records(source: Path, out: Path) -> None:
    """Copies the records of batched runs into a folder.

    Raises:
        UserError: if one is damaged.
    """
    store = Store(out)
    for record in Store(source).records():
        store.put(record)


def origin(sources: str) -> dict[str, str]:
    """The revision that measured, if this checkout has the same sources; says if it has not."""
    code = provenance.revision()
    if sources == archive.sources_digest() and not code["dirty"]:
        return {"revision": str(code["revision"] or "")[:8]}
    print(f"the archive was measured by sources {sources}, which are not this checkout's",
          file=sys.stderr)  # fmt: skip
    return {"revision": ""}


def file_name(out: Path, facts: dict[str, Any]) -> str:
    """ "gpu", or "gpu-<name>" if `out` has the results of another GPU."""
    if (out / f"{page.NAME}.json").is_file():
        before = measurements.load(page.NAME, out).facts
        if before.get("gpu") != facts.get("gpu"):
            slug = re.sub(r"[^a-z0-9]+", "-", str(facts.get("gpu")).lower()).strip("-")
            return f"{page.NAME}-{slug}"
    return page.NAME


def import_table(source: Path, out: Path, revision: str) -> list[Path]:
    """Adds timings of projectors to those of the same machine, and writes their page."""
    rows = [{**row, "revision": row["revision"] or revision} for row in open_csv(source).sorted()]
    machine = {name: rows[0][name] for name in MACHINE}
    target = open_csv(out / f"{TABLE}.csv")
    if any(row[name] != value for row in target.rows.values() for name, value in machine.items()):
        target = open_csv(out / f"{TABLE}-{digest(list(machine.values()))[:8]}.csv")
    target.put(*rows)
    return write_page_of(target.path)
