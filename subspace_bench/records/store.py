"""Records, and a store of JSON files.

A record is the outcome of one run: `result`, the same bits for the same run, and `provenance`,
which no comparison reads.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from subspace_bench.common.errors import UserError
from subspace_bench.common.files import digest, write_atomically
from subspace_bench.records.config import RunConfig, TrainingConfig

SCHEMA = 1  # of the record file
MEASURED = ("seconds_set_up", "seconds_training", "peak_memory_mb")  # numbers in every provenance


@dataclass(frozen=True)
class Record:
    """The outcome of one run.

    Attributes:
        result: `curve`, rows of [updates, test accuracy in %, loss of that update's batch];
            `accuracy` at the last scheduled score and `accuracy_end` after the last update, in %;
            `native_dimension`, `free_parameters`; hashes of the trained vector, `sha256` at the end
            and `sha256_at_200`; if training diverged, `diverged`, the update at which the loss was
            not finite.
        provenance: seconds, memory, versions, hardware, revision, data hash.
    """

    run: RunConfig
    result: dict[str, Any]
    provenance: dict[str, Any]

    def accuracy_at(self, updates: int) -> float | None:
        """Test accuracy in % after this many updates, or None if it was not scored."""
        return next((row[1] for row in self.result["curve"] if row[0] == updates), None)


class Store:
    """A folder of records, one JSON file each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def path(self, run: RunConfig) -> Path:
        return self.folder / f"{run.name}.json"

    def checkpoint(self, run: RunConfig) -> Path:
        """The run's checkpoint, which exists only while its training is interrupted."""
        return self.path(run).with_suffix(".checkpoint")

    def discard(self, run: RunConfig) -> None:
        """Deletes the run's record and checkpoint, so that it is trained from the start."""
        self.path(run).unlink(missing_ok=True)
        self.checkpoint(run).unlink(missing_ok=True)

    def get(self, run: RunConfig) -> Record | None:
        """The run's record, or None.

        Raises:
            UserError: if the file is damaged, was edited by hand, or has another schema.
        """
        path = self.path(run)
        return read_record(path) if path.exists() else None

    def put(self, record: Record) -> None:
        """Writes a record, atomically."""
        content = {
            "schema": SCHEMA,
            "run": asdict(record.run),
            "result": record.result,
            "result_sha256": digest(record.result),
            "provenance": record.provenance,
        }
        write_atomically(self.path(record.run), format_record(content))

    def records(self) -> Iterator[Record]:
        """All records, in the order of their file names."""
        for path in sorted(self.folder.glob("*.json")):
            yield read_record(path)


def format_record(content: dict[str, Any]) -> str:
    """JSON with one line per field and per row of the curve, for readable git diffs."""
    curve = content["result"].get("curve", [])
    shown = {**content, "result": {**content["result"], "curve": "@curve@"}}
    rows = ",\n".join("      " + json.dumps(row) for row in curve)
    text = json.dumps(shown, indent=2, ensure_ascii=False)
    return text.replace('"@curve@"', f"[\n{rows}\n    ]") + "\n"


def read_record(path: Path) -> Record:
    """Reads and verifies one record file.

    Raises:
        UserError: names the file and what is wrong with it.
    """
    remedy = "move it away to train the run again"
    try:
        content = json.loads(path.read_text())
        if content["schema"] != SCHEMA:
            raise ValueError(f"it has schema {content['schema']}, this version reads {SCHEMA}")
        run = RunConfig(
            **{**content["run"], "protocol": TrainingConfig(**content["run"]["protocol"])}
        )
        result, provenance = content["result"], content["provenance"]
        intact = digest(result) == content["result_sha256"] and run.name == path.stem
        for name in MEASURED:
            if type(value := provenance[name]) not in (int, float) or not 0 <= value < float("inf"):
                raise ValueError(f"{name} is {value!r}")
    except (OSError, KeyError, TypeError, ValueError, UserError) as failure:
        lacks = "it lacks " * isinstance(failure, KeyError)
        raise UserError(f"{path} is not a valid record ({lacks}{failure}): {remedy}") from failure
    if not intact:
        raise UserError(f"{path} was edited after it was written: restore it, or {remedy}")
    return Record(run, result, provenance)
