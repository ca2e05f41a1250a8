"""Pins: CI installs the versions of constraints.txt, and the oldest are the declared bounds."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

from benchmarks.torture.supply import LOCK, locked

HERE = Path(__file__).parents[1]
PIN = re.compile(r"^([\w.-]+)==(\S+)$", re.MULTILINE)
BOUND = re.compile(r"([\w.-]+)>=([\w.]+)")


def pins(name: str) -> dict[str, str]:
    text = (HERE / name).read_text(encoding="utf-8")
    return {canonical(package): version for package, version in PIN.findall(text)}


def canonical(package: str) -> str:
    return re.sub(r"[-_.]+", "-", package).lower()


def test_ci_installs_the_versions_of_constraints_and_knows_their_hashes() -> None:
    constraints, names = pins("constraints.txt"), set()
    for package, version, hashes in [
        *locked(LOCK),
        *locked(HERE / "requirements-nox.txt"),
        *locked(HERE / "requirements-release.txt"),
    ]:
        assert hashes, package
        assert constraints.get(canonical(package), version) == version
        names.add(canonical(package))
    assert len(names) > 100
    assert {"torch", "numpy", "nox", "hatchling"} <= names


def test_the_oldest_versions_are_the_declared_bounds() -> None:
    project = tomllib.loads((HERE / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    declared = [*project["dependencies"], *project["optional-dependencies"]["test"]]
    oldest = pins("constraints-oldest.txt")
    for requirement in declared:
        package, bound = BOUND.match(requirement).groups()
        found = oldest[canonical(package)].split(".")
        expected = bound.split(".")
        assert found == (expected + ["0"] * 3)[: len(found)], requirement
