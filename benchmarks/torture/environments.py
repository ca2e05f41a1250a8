"""Environments that users have: no home, other terminals and encodings, limits, foreign git."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from benchmarks.torture import processes, subjects
from benchmarks.torture.campaigns import NOT_TRIED, Row, Setting
from subspace_bench.common import hardware
from subspace_bench.records.store import read_record

HERE = Path(__file__).parents[2]
TRAIN = ("train", "--model", "mlp-16", "--dim", "9", "--dataset", "mnist-5k", "--steps", "5",
         "--device", "cpu")  # fmt: skip
REPORT = ("report", "mnist-lite")
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


COMPARE = ("compare", "--native", "300", "--dims", "10", "--repeat", "1")
READ_ONLY = {
    "`train`": TRAIN,
    "`compare`": COMPARE,
    "`report`": REPORT,
    "`list`": ("list",),
}
DRAWING = ("no home, no cache", "ASCII, C locale", "MPLBACKEND of a notebook")


def rows(setting: Setting) -> Iterator[Row]:
    row = Row(f"`train` under: {', '.join(VARIABLES)}")
    for name in VARIABLES:
        out = setting.work / name.replace(" ", "-")
        row.count(*try_command((*TRAIN, "--out", str(out)), name, setting.work / "log"))
        if len(subjects.records(out)) != 1:
            row.report(f"{name}: no record")
    yield row
    row = Row(f"`report`, which draws figures, under: {', '.join(DRAWING)}")
    for name in DRAWING:
        out = setting.work / f"report-{name.replace(' ', '-')}"
        row.count(*try_command((*REPORT, "--out", str(out)), name, setting.work / "log"))
        if not (out / "mnist-lite.md").exists():
            row.report(f"{name}: no page")
    yield row
    yield foreign_git(setting)
    yield pull_request(setting)
    yield control_groups(setting)
    yield real_control_group(setting)
    yield read_only_package(setting)


def try_command(arguments: Sequence[str], name: str, log: Path) -> list[str]:
    """Runs a command in an environment; what was wrong with how it ended."""
    command = processes.run(arguments, log, real=True, variables=VARIABLES[name])
    fine = command.code == 0 and "Traceback" not in command.err
    return [] if fine else [f"{name}: {command.describe()}"]


def foreign_git(setting: Setting) -> Row:
    """A copy of the package without history, and one in the `.venv` of another project."""
    row = Row(
        "a package in another project's virtual environment, and a tree without history: what "
        "`train` and `compare` write names no commit"
    )
    project = setting.work / "project"
    package = project / ".venv" / "subspace_bench"
    shutil.copytree(HERE / "subspace_bench", package)
    variables = {**os.environ, "PYTHONPATH": str(package.parent)}
    for git in (False, True):
        if git:
            identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
            for arguments in (["init", "-q"], [*identity, "commit", "-qm", "x", "--allow-empty"]):
                subprocess.run(["git", *arguments], cwd=project, check=True)
        out = project / f"out-{git}"
        for command in (TRAIN, COMPARE):
            done = subprocess.run(
                [*processes.PYTHON, *command, "--out", str(out)],
                cwd=project, env=variables, capture_output=True, text=True,
            )  # fmt: skip
            row.count(*([] if done.returncode == 0 else [f"{command[0]}: {done.stderr[-300:]}"]))
        row.report(*named_revisions(out))
    return row


def named_revisions(out: Path) -> list[str]:
    """What is wrong: a file that names a revision, or has no digest of the package's sources."""
    [record], table = out.glob("runs/*.json"), pd.read_csv(out / "projectors-cpu.csv")
    facts = read_record(record).provenance
    fine = facts["revision"] is None and facts["dirty"] is None
    wrong = [] if fine and len(facts["sources_sha256"]) == 64 else [f"{record.name}: {facts}"]
    return wrong if table["revision"].isna().all() else [*wrong, "projectors-cpu.csv"]


def pull_request(setting: Setting) -> Row:
    """A checkout as of a pull request's CI: detached, of depth 1, without a branch main."""
    row = Row("a pull request's checkout (detached, depth 1): asv, and the revision in records")
    clone = setting.work / "clone"
    git = ["git", "-c", "advice.detachedHead=false"]
    depth = ["--depth", "1", "--branch", "try", f"file://{setting.work / 'bare'}"]
    head = subprocess.check_output(["git", "rev-parse", "HEAD"], cwd=HERE, text=True).strip()
    for arguments, where in (
        (["init", "-q", "--bare", str(setting.work / "bare")], HERE),
        (["push", "-q", str(setting.work / "bare"), "HEAD:refs/heads/try"], HERE),
        (["clone", "-q", *depth, str(clone)], HERE),
        (["checkout", "-q", "--detach"], clone),
        (["branch", "-q", "-D", "try"], clone),
    ):
        subprocess.run([*git, *arguments], cwd=where, check=True, capture_output=True)
    nothing = ["--bench", "NoSuchBenchmark", "--set-commit-hash", head]  # they are found, not run
    program = "from subspace_bench.records.provenance import revision; print(revision())"
    for command, wanted in (
        (["-m", "asv", "machine", "--yes"], ""),
        (["-m", "asv", "run", "-E", "existing", *nothing], "No benchmarks selected"),
        (["-c", program], f"'revision': '{head}', 'dirty': False"),
    ):
        done = subprocess.run(
            [sys.executable, *command],
            cwd=clone,
            env={**os.environ, "PYTHONPATH": str(clone), "HOME": str(setting.work)},
            capture_output=True,
            text=True,
        )
        fine = wanted in done.stdout and (done.returncode == 0 or "--bench" in command)
        row.count(*([] if fine else [f"{command}: {(done.stdout + done.stderr)[-200:]}"]))
    return row


def real_control_group(setting: Setting) -> Row:
    """Commands in a group with less memory than PyTorch takes: refused in one line."""
    row = Row("`train` and `reproduce` in a control group of 600 MB, version 1")
    group = Path("/sys/fs/cgroup/memory", f"torture-{os.getpid()}")
    try:
        group.mkdir()
        (group / "memory.limit_in_bytes").write_text(str(600_000_000))
    except OSError:
        with contextlib.suppress(OSError):
            group.rmdir()
        return Row(row.tried, measured=NOT_TRIED)
    enter = f'echo $$ > "{group}/cgroup.procs" && exec "$@"'
    for arguments in (TRAIN, ("reproduce", "--device", "cpu")):
        command = [*processes.PYTHON, *arguments, "--out", str(setting.work / "small")]
        done = subprocess.run(
            ["sh", "-c", enter, "sh", *command], capture_output=True, text=True, cwd=setting.work
        )
        lines = [line for line in done.stderr.splitlines() if line.startswith("error:")]
        fine = done.returncode == 2 and len(lines) == 1 and "Traceback" not in done.stderr
        row.count(*([] if fine else [f"{arguments[0]}: {done.returncode} {done.stderr[-300:]}"]))
    with contextlib.suppress(OSError):
        group.rmdir()
    return row


def read_only_package(setting: Setting) -> Row:
    """A copy of the package that nobody has run, on a read-only disk, without a home or a cache."""
    row = Row(f"a package on a read-only disk, without a home: {', '.join(READ_ONLY)}")
    folder = setting.work / "installed"
    ignored = shutil.ignore_patterns("__pycache__")
    shutil.copytree(HERE / "subspace_bench", folder / "subspace_bench", ignore=ignored)
    mounted = f'mount --bind "{folder}" "{folder}" && mount -o remount,ro,bind "{folder}"'
    if not processes.allows("unshare", "--mount", "sh", "-c", mounted):
        return Row(row.tried, measured=NOT_TRIED)
    variables = {**os.environ, **VARIABLES["no home, no cache"], "PYTHONPATH": str(folder)}
    for name, arguments in READ_ONLY.items():
        out = ("--out", str(setting.work / "read-only")) if name != "`list`" else ()
        done = subprocess.run(
            ["unshare", "--mount", "sh", "-c", f'{mounted} && exec "$@"', "sh",
             *processes.PYTHON, *arguments, *out],
            capture_output=True, text=True, env=variables, cwd=setting.work,
        )  # fmt: skip
        fine = done.returncode == 0 and "Traceback" not in done.stderr
        row.count(*([] if fine else [f"{name}: {done.returncode} {done.stderr[-300:]}"]))
    return row


def control_groups(setting: Setting) -> Row:
    """Files as those of a container of 300 MB, in which 250 MB can be had."""
    row = Row("files of control groups, version 1 and 2, as read by the package")
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
