"""Records, and a store of JSON files.

A record is the outcome of one run: `result`, the same bits for the same run, and `provenance`,
which no comparison reads.
"""

from __future__ import annotations

import contextlib
import json
import os
import reprlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

from subspace_bench.common.errors import UserError
from subspace_bench.common.files import digest, read_regular, sweep_parts, write_atomically
from subspace_bench.common.locks import Locked, exclusive, sweep_locks
from subspace_bench.common.schema import (
    OPEN,
    Count,
    NonNegative,
    Percent,
    Seconds,
    Sha256,
    parse_json,
    require,
)
from subspace_bench.records.config import RunConfig, TrainingConfig

SCHEMA = 1  # of the record file

CurveRow = tuple[Count, Percent, NonNegative]  # updates, test accuracy in %, loss


class Result(TypedDict):
    """The content of `Record.result`."""

    accuracy: Percent | None
    accuracy_end: Percent | None
    native_dimension: Count
    free_parameters: Count
    sha256: Sha256
    sha256_at_200: NotRequired[Sha256]
    diverged: NotRequired[Count]
    curve: list[CurveRow]


class Provenance(TypedDict):
    """What every `Record.provenance` holds, and the types of what else is read."""

    seconds_set_up: Seconds
    seconds_training: Seconds
    peak_memory_mb: Seconds
    cpu: NotRequired[str]
    revision: NotRequired[str | None]
    dirty: NotRequired[bool | None]


class RecordFile(TypedDict):
    """The content of a record's file; `result` is checked after its digest."""

    schema: Count
    run: RunConfig
    result: dict[str, Any]
    result_sha256: Sha256
    provenance: Annotated[Provenance, OPEN]


@dataclass(frozen=True)
class Record:
    """The outcome of one run.

    Attributes:
        result: `curve`, rows of [updates, test accuracy in %, loss of that update's batch];
            `accuracy` at the last scheduled score and `accuracy_end` after the last update, in %;
            `native_dimension`, `free_parameters`; hashes of the trained vector, `sha256` at the end
            and `sha256_at_200`; if training diverged, `diverged`, the update at which the loss,
            what is trained or an output for a test image was found not finite.
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

    def sweep(self) -> None:
        """Deletes what workers left beside records and checkpoints when they were killed."""
        with contextlib.suppress(OSError):
            sweep_locks(self.folder)
            sweep_parts(self.folder)

    @contextlib.contextmanager
    def claim(self, run: RunConfig) -> Iterator[None]:
        """Holds a run, so that no other process trains it; ends with the process.

        Raises:
            Locked: if another process holds it.
        """
        with contextlib.suppress(OSError):  # which `put` reports
            self.folder.mkdir(parents=True, exist_ok=True)
        with exclusive(self.path(run), timeout=0):
            yield

    def is_claimed(self, run: RunConfig) -> bool:
        """Whether another process holds the run now."""
        try:
            with self.claim(run):
                return False
        except Locked:
            return True

    def get(self, run: RunConfig) -> Record | None:
        """The run's record, or None.

        Raises:
            UserError: if the file is damaged, was edited by hand, or has another schema.
        """
        try:
            return read_record(self.path(run))
        except (FileNotFoundError, NotADirectoryError):
            return None

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
        """All records, in the order of their file names; those deleted meanwhile are left out.

        Raises:
            UserError: if the folder cannot be read, or as `get`.
        """
        try:
            names = sorted(os.listdir(self.folder))
        except FileNotFoundError:
            return
        except OSError as failure:
            raise UserError(
                f"cannot read {self.folder} ({failure.strerror}): change its permissions, or "
                "choose another folder"
            ) from failure
        for name in names:
            if name.endswith(".json") and not name.startswith("."):
                with contextlib.suppress(FileNotFoundError):
                    yield read_record(self.folder / name)


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
        FileNotFoundError: if there is none.
    """
    remedy = "move it away to train the run again"
    try:
        content = parse_json(read_regular(path))
        if type(content) is dict and content.get("schema") != SCHEMA:
            found = reprlib.repr(content.get("schema"))
            raise ValueError(f"it has schema {found}, this version reads {SCHEMA}")
        require(content, RecordFile, "it")
        given = content["run"]
        run = RunConfig(**{**given, "protocol": TrainingConfig(**given["protocol"])})
        result = content["result"]
        intact = digest(result) == content["result_sha256"] and run.name == path.stem
        if intact:
            require(result, Result, "its result")
            require_consistent(run, result)
    except (FileNotFoundError, NotADirectoryError):
        raise
    except (OSError, ValueError, RecursionError, UserError) as failure:
        raise UserError(f"{path} is not a valid record ({failure}): {remedy}") from failure
    if not intact:
        raise UserError(f"{path} was edited after it was written: restore it, or {remedy}")
    return Record(run, result, content["provenance"])


def require_consistent(run: RunConfig, result: dict[str, Any]) -> None:
    """Checks the parts of a result against each other and the run.

    Raises:
        ValueError: names what does not fit.
    """
    steps, native, free = run.protocol.steps, result["native_dimension"], result["free_parameters"]
    trained = result.get("diverged", steps)
    if trained > steps:
        raise ValueError(f"diverged is {trained}, but the run has {steps} updates")
    require_scheduled(run.protocol, result["curve"], trained - ("diverged" in result))
    scores = {row[0]: row[1] for row in result["curve"]}
    for name, updates in (("accuracy", run.protocol.last_score), ("accuracy_end", steps)):
        if result[name] != scores.get(updates):
            raise ValueError(f"{name} is {result[name]}, but {scores.get(updates)} in the curve")
    if free != (native if run.dim is None else run.dim) or free > native:
        raise ValueError(f"{free} of {native} parameters are free, but d is {run.dim}")


def require_scheduled(protocol: TrainingConfig, curve: list[Any], updates: int) -> None:
    """Checks that a curve has exactly the scores that are due in this many updates.

    Raises:
        ValueError: if not.
    """
    scored = [row[0] for row in curve]
    due = range(protocol.score_first, updates + 1, protocol.score_every)
    expected = list(due[: len(scored) + 1])
    if updates == protocol.steps and not protocol.scored(updates):
        expected.append(updates)
    if scored != expected:
        raise ValueError(f"its curve lacks scores, or has others than are due in {updates} updates")
