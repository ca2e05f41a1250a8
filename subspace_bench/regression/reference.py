"""References: what a quantity came to over many seeds, in a TOML file that git keeps.

Old references stay in the file as its history; a file that was edited by hand is refused.
"""

from __future__ import annotations

import hashlib
import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tomli_w

from subspace_bench.common.errors import UserError
from subspace_bench.common.files import digest, write_atomically
from subspace_bench.reporting.statistics import Sample

SCHEMA = 1
FEWEST = 10  # numbers in a reference: with fewer, the test finds too little
HEAD = "# Made by a rebase and read by checks. Not to be edited by hand.\n"


@dataclass(frozen=True)
class Reference:
    """A quantity over seeds 0 … n−1.

    Attributes:
        values: one number a seed.
        identity: what was measured: protocol, data, numerics version; whatever must not differ.
        origin: where it was measured: machine, versions, revision. Nothing is held against it but
            the bits of `losses`.
        losses: float32 losses of every step of seed 0, in hexadecimal, for the exact mode.
    """

    values: tuple[float, ...]
    identity: Mapping[str, Any] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)
    losses: str = ""

    @property
    def sample(self) -> Sample:
        return Sample(self.values)


def load(path: Path, remedy: str, fewest: int = FEWEST) -> dict[str, Reference]:
    """The references in a file, by name.

    Arguments:
        remedy: what a user does to make a new one.

    Raises:
        UserError: where there is no file, or it is damaged, edited by hand, of another schema, or
            holds fewer than `fewest` numbers.
    """
    content = _read(path, remedy)
    found = {name: _parse(value) for name, value in content["reference"].items()}
    for name, reference in found.items():
        if len(reference.values) < fewest:
            raise UserError(
                f"{path}: {name} has {len(reference.values)} numbers and the test needs {fewest} "
                f"or more: {remedy}"
            )
    return found


def replaced(path: Path) -> dict[str, Reference]:
    """What a rebase takes the place of; nothing where that cannot be read."""
    try:
        return load(path, "", fewest=1)
    except UserError:
        return {}


def save(path: Path, references: Mapping[str, Reference]) -> str:
    """Writes references; those that they replace join the history. Returns what a user must know.

    A file that is damaged or was edited is what a rebase is to mend: it is moved aside, not lost.

    Raises:
        UserError: for numbers that no reference can hold; where the place cannot be written.
    """
    new, aside = {name: _plain(r) for name, r in references.items()}, ""
    old: dict[str, Any] = {"reference": {}, "history": []}
    if path.exists():
        try:
            old = _read(path, "")
        except UserError as failure:
            mark = hashlib.sha256(path.read_bytes()).hexdigest()[:8]
            bad = path.with_name(f"{path.name}.{mark}.bad")
            path.replace(bad)
            aside = f"{str(failure).split(':')[0]}: kept as {bad}"
    history = [*([old["reference"]] if old["reference"] else []), *old["history"]]
    content = {"reference": new, "history": history}
    head = {"schema": SCHEMA, "sha256": digest(content)}
    write_atomically(path, HEAD + tomli_w.dumps({**head, **content}))
    return aside


def _read(path: Path, remedy: str) -> dict[str, Any]:
    if not path.exists():
        raise UserError(f"there is no reference file {path}: {remedy}")
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        schema, claimed = content.pop("schema"), content.pop("sha256")
        content.setdefault("history", [])
        references, present = content["reference"], digest(content)
    except (ValueError, KeyError, TypeError, OSError) as failure:
        raise UserError(f"{path} is no reference file ({failure}): {remedy}") from failure
    if schema != SCHEMA:
        raise UserError(f"{path} has schema {schema}, this version reads {SCHEMA}: {remedy}")
    if present != claimed or not isinstance(references, dict):
        raise UserError(f"{path} was edited by hand: restore it, or {remedy}")
    return content


def _parse(value: dict[str, Any]) -> Reference:
    return Reference(
        tuple(value["values"]), value["identity"], value["origin"], value.get("losses", "")
    )


def _plain(reference: Reference) -> dict[str, Any]:
    values = [float(v) for v in reference.values]
    if not all(math.isfinite(v) for v in values):
        raise UserError("a reference cannot hold NaN or infinity: mend the training first")
    plain = {"values": values, "identity": dict(reference.identity)}
    plain["origin"] = dict(reference.origin)
    return plain | ({"losses": reference.losses} if reference.losses else {})


def side_by_side(old: Reference | None, new: Reference) -> str:
    """What a rebase changes, in a line."""
    now = f"{new.sample.show()}, sd {new.sample.sd:.3g}"
    if old is None:
        return f"new {now}"
    gap = new.sample.mean - old.sample.mean
    return f"old {old.sample.show()}, sd {old.sample.sd:.3g}; new {now}: {gap:+.3f}"
