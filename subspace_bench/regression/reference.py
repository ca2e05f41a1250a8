"""Reference distributions: the values of a quantity over many seeds, in a TOML file kept in git.

Updating a reference keeps the old one in the file's history. A checksum detects manual edits.
"""

from __future__ import annotations

import hashlib
import reprlib
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, NotRequired, TypedDict

import tomli_w

from subspace_bench.common.errors import UserError
from subspace_bench.common.files import digest, read_regular, write_atomically
from subspace_bench.common.schema import Count, Pattern, Range, Sha256, require
from subspace_bench.reporting.statistics import Sample

SCHEMA = 1
LARGEST = 1e100  # of values; squares of larger ones overflow
MIN_SEEDS = 10  # with fewer values the test has too little power
HEAD = "# Written by an update of the reference and read by checks. Do not edit.\n"


@dataclass(frozen=True)
class Reference:
    """The reference distribution of one quantity.

    Attributes:
        values: one for each of the seeds 0 … n−1.
        identity: what was measured (protocol, data, numerics version); a check must have the same.
        origin: where it was measured (machine, versions, revision). Only a bitwise comparison of
            `losses` needs the same one.
        losses: the float32 loss of every step of seed 0, in hexadecimal, for `--bitwise`.
    """

    values: tuple[float, ...]
    identity: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)
    losses: str = ""

    @property
    def sample(self) -> Sample:
        return Sample(self.values)


class ReferenceEntry(TypedDict):
    """A `Reference` in a file."""

    values: list[Annotated[float, Range(-LARGEST, LARGEST)]]
    identity: dict[str, Any]
    origin: dict[str, Any]
    losses: NotRequired[Annotated[str, Pattern("([0-9a-f]{8})*")]]


class ReferenceFile(TypedDict):
    """The content of a file; the history is that of earlier updates, the latest first."""

    schema: Count
    sha256: Sha256
    reference: dict[str, ReferenceEntry]
    history: NotRequired[list[dict[str, ReferenceEntry]]]


def load(path: Path, remedy: str, min_seeds: int = MIN_SEEDS) -> dict[str, Reference]:
    """The references in a file, by name.

    Arguments:
        remedy: how to create a new reference; ends every error message.

    Raises:
        UserError: if the file is missing, damaged, edited by hand or of another schema, or if a
            reference has fewer than `min_seeds` values.
    """
    references = {
        name: Reference(**{**content, "values": tuple(content["values"])})
        for name, content in _read(path, remedy)["reference"].items()
    }
    for name, reference in references.items():
        if len(reference.values) < min_seeds:
            raise UserError(
                f"{path}: {name} has {len(reference.values)} values, but the test needs "
                f"{min_seeds} or more: {remedy}"
            )
    return references


def load_old(path: Path) -> dict[str, Reference]:
    """The references that an update replaces; empty if they cannot be read."""
    try:
        return load(path, "", min_seeds=1)
    except UserError:
        return {}


def save(path: Path, references: Mapping[str, Reference]) -> Path | None:
    """Writes references and moves the replaced ones to the history.

    Returns:
        The new path of the old file, if it was damaged or edited and therefore moved.

    Raises:
        UserError: if a value is not finite, or the file cannot be written.
    """
    for reference in references.values():
        if not all(abs(value) <= LARGEST for value in reference.values):
            raise UserError(
                f"a reference cannot contain NaN, infinity or numbers beyond {LARGEST:g}: fix the "
                "training first"
            )
    old: dict[str, Any] = {"reference": {}, "history": []}
    moved_to = None
    if path.exists():
        try:
            old = _read(path, "")
        except UserError:
            mark = hashlib.sha256(_bytes_of(path)).hexdigest()[:8]
            moved_to = path.with_name(f"{path.name}.{mark}.bad")
            path.replace(moved_to)
    content = {
        "reference": {name: _plain(reference) for name, reference in references.items()},
        "history": [*([old["reference"]] if old["reference"] else []), *old["history"]],
    }
    head = {"schema": SCHEMA, "sha256": digest(content)}
    write_atomically(path, HEAD + tomli_w.dumps({**head, **content}))
    return moved_to


def _bytes_of(path: Path) -> bytes:
    try:
        return read_regular(path)
    except OSError as failure:
        raise UserError(
            f"{path} cannot be replaced ({failure.strerror}): move it away"
        ) from failure


def _read(path: Path, remedy: str) -> dict[str, Any]:
    try:
        content = tomllib.loads(read_regular(path).decode("utf-8"))
        if (schema := content.get("schema")) != SCHEMA:
            found = reprlib.repr(schema)
            raise UserError(f"{path} has schema {found}, but this version reads {SCHEMA}: {remedy}")
        checksum = content.pop("sha256", None)
        del content["schema"]
        content.setdefault("history", [])
        intact = digest(content) == checksum
        if intact:
            require({"schema": schema, "sha256": checksum, **content}, ReferenceFile, "it")
    except FileNotFoundError:
        raise UserError(f"there is no reference file {path}: {remedy}") from None
    except (ValueError, TypeError, OSError, RecursionError) as failure:
        raise UserError(f"{path} is not a reference file ({failure}): {remedy}") from failure
    if not intact:
        raise UserError(f"{path} was edited by hand: restore it, or {remedy}")
    return content


def _plain(reference: Reference) -> dict[str, Any]:
    """The content for TOML, without empty losses."""
    content = {**asdict(reference), "values": [float(v) for v in reference.values]}
    if not reference.losses:
        del content["losses"]
    return content


def describe_update(old: Reference | None, new: Reference) -> str:
    """Old and new mean and sd in one line."""
    after = f"{new.sample.show()}, sd {new.sample.sd:.3g}"
    if old is None:
        return f"new {after}"
    difference = new.sample.mean - old.sample.mean
    return f"old {old.sample.show()}, sd {old.sample.sd:.3g}; new {after}: {difference:+z.3f}"
