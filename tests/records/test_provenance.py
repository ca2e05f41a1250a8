"""The revision in a record is that of this package, never that of a repository around it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from subspace_bench.common.hardware import peak_memory
from subspace_bench.common.source_digests import PACKAGE
from subspace_bench.datasets.dataset import Dataset
from subspace_bench.records import provenance
from subspace_bench.records.config import RunConfig, TrainingConfig

PRINT = "from subspace_bench.records import provenance; print(provenance.revision())"


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false")
    command = ["git", *identity, "-C", str(folder), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def installed(tmp_path: Path) -> Path:
    """A copy of the package in the virtual environment of somebody's committed project."""
    site = tmp_path / ".venv" / "site-packages"
    ignored = shutil.ignore_patterns("__pycache__", "packaged_records")
    shutil.copytree(PACKAGE, site / "subspace_bench", ignore=ignored)
    git(tmp_path, "init", "-q")
    (tmp_path / ".gitignore").write_text(".venv\n__pycache__\n")
    git(tmp_path, "add", ".gitignore")
    git(tmp_path, "commit", "-q", "-m", "theirs")
    return site


def revision_of(site: Path, **variables: str) -> dict[str, object]:
    """`provenance.revision` of the copy, in a new process."""
    environment = {"PYTHONPATH": str(site), "PATH": "/usr/bin:/bin:/usr/local/bin", **variables}
    command = [sys.executable, "-c", PRINT]
    printed = subprocess.run(
        command, cwd=site, env=environment, capture_output=True, text=True, check=True
    ).stdout
    result: dict[str, object] = eval(printed)
    return result


@pytest.mark.slow
def test_a_package_in_another_projects_environment_has_no_revision(installed: Path) -> None:
    code = revision_of(installed)
    assert (code["revision"], code["dirty"]) == (None, None)
    assert code["sources_sha256"] == provenance.package_digest()
    theirs = installed.parents[1]
    assert revision_of(installed, GIT_DIR=str(theirs / ".git"))["revision"] is None


@pytest.mark.slow
def test_a_tracked_package_has_the_revision_of_its_repository(installed: Path) -> None:
    project = installed.parents[1]
    git(project, "add", "-f", ".venv")
    git(project, "commit", "-q", "-m", "with the package")
    code = revision_of(installed)
    assert (code["revision"], code["dirty"]) == (git(project, "rev-parse", "HEAD"), False)
    with (installed / "subspace_bench" / "common" / "rng.py").open("a") as file:
        file.write("# changed\n")
    changed = revision_of(installed)
    assert changed["dirty"] is True
    assert changed["sources_sha256"] != code["sources_sha256"]


def test_provenance_names_version_and_sources(digits) -> None:
    code = provenance.revision()
    assert len(code["sources_sha256"]) == 64
    assert "subspace-bench" in provenance.machine()


def test_a_record_says_what_its_run_took(digits: Dataset) -> None:
    run = RunConfig("fc", "default", TrainingConfig(steps=1, batch=1, lr=0.1))
    facts = provenance.collect(run, digits, set_up=1.234, training=56.789)
    assert (facts["seconds_set_up"], facts["seconds_training"]) == (1.23, 56.79)
    assert peak_memory() / 1e6 == pytest.approx(facts["peak_memory_mb"], abs=50)
    assert facts["data_sha256"] == digits.digest
    assert facts.keys() >= {*provenance.DECIDING, "revision", "sources_sha256"}
    assert "peak_device_memory_mb" not in facts
