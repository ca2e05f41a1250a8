"""Environments that users have: no home, other terminals and encodings, limits, foreign git."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

from benchmarks.torture import processes, subjects
from benchmarks.torture.campaigns import Row, Setting
from subspace_bench.common import hardware

HERE = Path(__file__).parents[2]
RUN = (
    "--model",
    "mlp-16",
    "--dim",
    "9",
    "--dataset",
    "mnist-5k",
    "--device",
    "cpu",
    "--steps",
    "5",
)
VARIABLES: dict[str, Mapping[str, str]] = {
    "no home, no cache": {"HOME": "/proc/nosuch", "XDG_CACHE_HOME": "/proc/nosuch"},
    "FORCE_COLOR": {"FORCE_COLOR": "1"},
    "NO_COLOR, a dumb terminal": {"NO_COLOR": "1", "TERM": "dumb"},
    "cp1252": {"PYTHONIOENCODING": "cp1252"},
    "Latin-1": {"PYTHONIOENCODING": "latin-1"},
    "ASCII, C locale": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
    "MPLBACKEND of a notebook": {"MPLBACKEND": "module://no_such_package.backend_inline"},
    "NUMBA_DISABLE_JIT": {"NUMBA_DISABLE_JIT": "1"},
    "an unknown user in the data variable": {"SUBSPACE_BENCH_DATA": "~nouser/data"},
    "python -O": {"PYTHONOPTIMIZE": "1"},
    "git variables of a hook": {"GIT_DIR": "/proc/nosuch", "GIT_WORK_TREE": "/"},
    "one thread of everything": {"OMP_NUM_THREADS": "1", "NUMBA_NUM_THREADS": "1"},
}
CGROUPS = {
    "v2": {"memory.max": "300000000", "memory.current": "100000000",
           "memory.stat": "inactive_file 50000000\n"},
    "v1": {"memory.limit_in_bytes": "300000000", "memory.usage_in_bytes": "100000000",
           "memory.stat": "total_inactive_file 50000000\n"},
}  # fmt: skip


def rows(setting: Setting) -> Iterator[Row]:
    row = Row(f"`train` and `report` under: {', '.join(VARIABLES)}")
    for name, variables in list(VARIABLES.items())[:: setting.times(1, 6)]:
        out = setting.work / name.replace(" ", "-")
        for arguments in (RUN, ["report", "mnist-lite"])[: setting.times(2, 1)]:
            command = processes.run(
                [*arguments, "--out", str(out)],
                setting.work / "log",
                real=True,
                variables=variables,
            )
            fine = command.code == 0 and "Traceback" not in command.err
            row.count(*([] if fine else [f"{name}: {command.describe()}"]))
        if len(subjects.records(out)) != 1:
            row.report(f"{name}: no record")
    yield row
    yield foreign_git(setting)
    yield control_groups(setting)


def foreign_git(setting: Setting) -> Row:
    """A copy of the package without history, and one in the `.venv` of another project."""
    row = Row("a package in another project's virtual environment, and a tree without history")
    project = setting.work / "project"
    package = project / ".venv" / "subspace_bench"
    shutil.copytree(HERE / "subspace_bench", package)
    program = (
        "from subspace_bench.records import provenance as p; f = p.revision();"
        "assert f['revision'] is None and f['dirty'] is None and len(f['sources_sha256']) == 64, f"
    )
    environment = {**os.environ, "PYTHONPATH": str(package.parent)}
    for git in (False, True):
        if git:
            identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
            for arguments in (["init", "-q"], [*identity, "commit", "-qm", "x", "--allow-empty"]):
                subprocess.run(["git", *arguments], cwd=project, check=True)
        done = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True
        )
        row.count(*([] if done.returncode == 0 else [done.stderr.strip().splitlines()[-1]]))
    return row


def control_groups(setting: Setting) -> Row:
    """Files as those of a container of 300 MB, in which 250 MB can be had."""
    row = Row("limits of control groups, version 1 and 2")
    for version, files in CGROUPS.items():
        root = setting.work / version
        group = root / ("memory" if version == "v1" else "") / "job"
        group.mkdir(parents=True)
        for name, text in files.items():
            (group / name).write_text(text)
        own = setting.work / f"{version}-own"
        own.write_text("4:memory:/job\n" if version == "v1" else "0::/job\n")
        hardware.CGROUPS, hardware.OWN_CGROUPS = root, own
        hardware._cgroups.cache_clear()
        found = hardware.available_memory()
        row.count(*([] if found == 250_000_000 else [f"{version}: {found:,.0f} bytes"]))
    return row
