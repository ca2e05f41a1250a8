"""Sessions: `reproduce`, `tests`, `docs`, `web`, `cluster`, `check`, `lint`, `bench` and others.

`nox -s NAME -- OPTIONS` runs one.
All sessions share one environment, `.nox/env` (or `env` under `--envdir`), which takes about 7 GB.
It is installed from requirements-ci.txt, whose hashes pip checks, and again only when that or
pyproject.toml changes.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import time
from pathlib import Path

import nox

HERE = Path(__file__).parent
MOTO = "moto[server]==5.2.5"  # a local S3; it needs an older python-dateutil than the others
GPU_MINUTES, GPU_OUT = 19, "gpu-results"  # writing the pages takes the twentieth minute
nox.options.sessions = ["tests", "lint"]


def environment(session: nox.Session) -> str:
    """The Python of the shared environment, which is installed or updated if necessary."""
    home = session.cache_dir.parent.resolve() / "env"
    python = home / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")
    pins, project = HERE / "requirements-ci.txt", HERE / "pyproject.toml"
    content = pins.read_bytes() + project.read_bytes() + str(HERE).encode()
    key, stamp = hashlib.sha256(content).hexdigest(), home / "installed"
    if not python.exists():
        session.run(sys.executable, "-m", "virtualenv", "--quiet", str(home))
    if not stamp.exists() or stamp.read_text() != key:
        pip = (str(python), "-m", "pip", "install")
        session.run(*pip, "--require-hashes", "--requirement", str(pins))
        session.run(*pip, "--no-deps", "--no-build-isolation", "--editable", str(HERE))
        stamp.write_text(key)
    return str(python)


@nox.session(venv_backend="none", default=False)
def reproduce(session: nox.Session) -> None:
    """Train what the pages need, and write them to results/."""
    session.run(
        environment(session),
        *("-m", "subspace_bench", "reproduce", *session.posargs),
        interrupt_timeout=300.0,  # seconds after Ctrl-C: checkpoints are written first
    )


@nox.session(venv_backend="none")
def tests(session: nox.Session) -> None:
    """Run the test suite on all cores; `-- -m "not slow"` runs its fast part."""
    # Idle workers take tests from busy ones, because test files differ in duration.
    workers = ("-n", "auto", "--dist", "worksteal")
    session.run(environment(session), "-m", "pytest", *workers, *session.posargs)


@nox.session(venv_backend="none", default=False)
def docs(session: nox.Session) -> None:
    """Build the documentation into build/docs; a broken link or name is an error."""
    options = ("-q", "-W", "--keep-going", "-c", "docs", *session.posargs)
    session.run(environment(session), "-m", "sphinx", *options, ".", "build/docs")
    session.log("open build/docs/index.html")


@nox.session(venv_backend="none", default=False)
def web(session: nox.Session) -> None:
    """Use results/index.html in Chromium: the one on PATH, or the one that $CHROMIUM names."""
    session.run(environment(session), "-m", "pytest", "tests/web", *session.posargs)


@nox.session(venv_backend="virtualenv", default=False)
def cluster(session: nox.Session) -> None:
    """Train on a Ray cluster of several nodes on this machine, as submitit's jobs, and with S3."""
    session.install(MOTO)
    moto = {"MOTO_SERVER": str(Path(session.bin) / "moto_server")}
    tests = ("tests/cluster", "tests/records/test_mirror.py")
    # Ray's tests and the others mostly wait: side by side they take two thirds of the time.
    pytest = (environment(session), "-m", "pytest", "-n", "2", "--dist", "loadfile")
    session.run(*pytest, *tests, *session.posargs, env=moto, external=True)


@nox.session(venv_backend="none", default=False)
def check(session: nox.Session) -> None:
    """Train short runs and check accuracy against results/regression.toml."""
    session.run(environment(session), "-m", "subspace_bench", "check", *session.posargs)


@nox.session(venv_backend="none")
def lint(session: nox.Session) -> None:
    """Check style, types, and that asv can run the benchmarks."""
    python = environment(session)
    session.run(python, "-m", "ruff", "check", ".")
    session.run(python, "-m", "ruff", "format", "--check", ".")
    session.run(python, "-m", "mypy", *session.posargs)
    session.run(python, "-m", "asv", "machine", "--yes", silent=True)
    session.run(python, "-m", "asv", "check", "-E", "existing")


@nox.session(venv_backend="none", default=False)
def bench(session: nox.Session) -> None:
    """Time projectors and a training step with asv; fails if nothing was timed."""
    python = environment(session)
    head = ["git", "rev-parse", "HEAD"]
    commit = subprocess.run(head, cwd=HERE, capture_output=True, text=True, check=True)
    target = ("-E", "existing", "--set-commit-hash", commit.stdout.strip())
    session.run(python, "-m", "asv", "machine", "--yes")
    start = time.time()
    # 240 processes that each import torch take 15 minutes; forked ones take 4.
    fork = ("--launch-method", "forkserver") if sys.platform == "linux" else ()
    session.run(python, "-m", "asv", "run", *target, *fork, *session.posargs)
    if not count_results(commit.stdout.strip(), start):
        session.error("asv stored no result: see its output above, or add --show-stderr")


@nox.session(venv_backend="none", default=False)
def torture(session: nox.Session) -> None:
    """Kill, damage and starve everything, and write results/reliability.md; `-- --short` for CI."""
    session.run(environment(session), "-m", "benchmarks.torture", *session.posargs)


@nox.session(venv_backend="none", default=False)
def gpu(session: nox.Session) -> None:
    """Measure a GPU in 20 minutes and write the pages; run it again to resume. See docs/gpu.md."""
    python, archive = environment(session), f"{GPU_OUT}/gpu.tar.gz"
    measure = ("--minutes", str(GPU_MINUTES), "--out", GPU_OUT)
    session.run(python, "-m", "benchmarks.gpu", *measure, *session.posargs)
    session.run(python, "-m", "benchmarks.gpu", "--import", archive)


def count_results(commit: str, since: float) -> int:
    """How many numbers asv has stored for a commit since a time (seconds since the epoch)."""
    count = 0
    for path in (HERE / ".asv" / "results").glob(f"*/{commit[:8]}*.json"):
        if path.stat().st_mtime < since:
            continue
        for values in json.loads(path.read_text())["results"].values():
            count += sum(value is not None for value in (values or [None])[0] or [])
    return count
