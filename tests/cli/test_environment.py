"""Commands in the environments that users have: terminals, pipes, notebooks, crashes."""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

from subspace_bench import cli
from subspace_bench.common.formatting import make_console
from subspace_bench.common.standard_streams import protect_streams

COMMAND = (sys.executable, "-m", "subspace_bench")
NOTEBOOK = {"MPLBACKEND": "module://no_such_package.backend_inline"}
posix = pytest.mark.skipif(os.name == "nt", reason="redirections of a POSIX shell")


def shell(line: str, **variables: str) -> subprocess.CompletedProcess[bytes]:
    """Runs a line of bash in which $SB is the command; fails if a part of a pipe does."""
    environment = {**os.environ, "SB": " ".join(COMMAND), **variables}
    script = f"set -o pipefail; {line}"
    return subprocess.run(["bash", "-c", script], capture_output=True, env=environment)


@pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "ascii"])
def test_a_terminal_without_greek_letters(encoding: str) -> None:
    done = subprocess.run(
        [*COMMAND, "--help"], capture_output=True, env={**os.environ, "PYTHONIOENCODING": encoding}
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"? = ?" in done.stdout  # θ = θ₀ + Pω


@posix
@pytest.mark.parametrize(
    ("line", "code"),
    [
        ("$SB --help >&-", 0),
        ("$SB --help <&- >&- 2>&-", 0),
        ("$SB --help | head -c 1", 0),
        ("$SB train --steps 0 2>&-", 2),
        pytest.param("$SB --help > /dev/full", 2, marks=pytest.mark.skipif(
            not Path("/dev/full").exists(), reason="a device of Linux")),
    ],
)  # fmt: skip
def test_streams_that_are_closed_or_full(line: str, code: int) -> None:
    done = shell(line)
    assert done.returncode == code
    assert b"Traceback" not in done.stderr
    assert done.stderr.count(b"\n") == (1 if "full" in line else 0)


@posix
@pytest.mark.slow
def test_a_notebook_with_a_narrow_encoding_and_a_short_reader() -> None:
    """Everything that imports torch and matplotlib, in one: the page of the check, then `list`."""
    program = (
        "import sys, matplotlib, subspace_bench.regression.validation.page\n"
        "assert matplotlib.get_backend().lower() == 'agg'\n"
        "assert 'torch._dynamo' not in sys.modules  # takes a second\n"
        "from subspace_bench.__main__ import main\n"
        "main()\n"
    )
    line = f"{sys.executable} -c {shlex.quote(program)} list | head -n 1"
    done = shell(line, PYTHONIOENCODING="cp1252", TERM="dumb", **NOTEBOOK)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.startswith(b"Pages")


@posix
@pytest.mark.slow
def test_training_goes_on_when_nobody_reads_any_more(tmp_path: Path) -> None:
    options = "--model mlp-16 --dataset mnist-5k --device cpu --steps 400"
    done = shell(f"$SB train {options} --out {tmp_path} | head -n 1")
    assert (done.returncode, done.stderr) == (0, b"")
    assert [path.suffix for path in (tmp_path / "runs").iterdir()] == [".json"]


def test_colours_in_a_file_bring_no_progress_bars(monkeypatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setattr(sys, "stdout", io.StringIO())
    assert not make_console().is_interactive


@posix
def test_protected_streams_keep_their_properties(monkeypatch) -> None:
    readable, writable = os.pipe()
    before = io.TextIOWrapper(io.FileIO(writable, "w"), encoding="ascii", write_through=True)
    kept = os.dup(1), os.dup(2)
    monkeypatch.setattr(sys, "stdout", before)
    monkeypatch.setattr(sys, "stderr", sys.stderr)
    os.dup2(writable, 1)
    try:
        protect_streams()
        print("θ")
        assert os.read(readable, 9) == b"?\n"  # at once, as it is unbuffered
        os.close(readable)
        print("into nothing")
        assert (sys.stdout.encoding, sys.stdout.write_through) == ("ascii", True)
        assert not sys.stdout.isatty()
        sys.stdout.close()
    finally:
        for number, descriptor in enumerate(kept, 1):
            os.dup2(descriptor, number)
            os.close(descriptor)
        before.close()


@pytest.mark.parametrize(
    ("failure", "code", "traced"),
    [
        (ValueError("first\nsecond"), 3, True),
        (SystemExit(1), 3, True),
        (RecursionError(), 3, True),
        (MemoryError(), 2, False),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), 2, False),
        (OSError(28, "No space left on device", "file"), 2, False),
        (KeyboardInterrupt(), 130, False),
    ],
)
@pytest.mark.parametrize("command", ["check", "compare", "train"])
def test_a_crash_is_one_line_and_never_exit_code_1(
    command: str, failure: BaseException, code: int, traced: bool, tmp_path, monkeypatch, capsys
) -> None:
    def crash(*_: object, **__: object) -> None:
        raise failure

    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.setattr("subspace_bench.common.validation.require_at_least", crash)
    with pytest.raises(SystemExit) as end:
        cli.main([command])
    errors = capsys.readouterr().err
    assert end.value.code == code
    assert len(errors.strip().splitlines()) == 1
    found = re.findall(r"\S+\.log", errors)
    assert bool(found) == traced
    if traced:
        assert "Traceback" in Path(found[0].rstrip(")")).read_text(encoding="utf-8")


def test_a_crash_is_described_where_a_file_name_is_no_utf_8(tmp_path, monkeypatch, capsys) -> None:
    monkeypatch.setattr("sys.argv", ["subspace-bench", "train", "\udcff"])
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    assert cli.print_unexpected(ValueError("no")) == 3
    (log,) = tmp_path.iterdir()
    assert r"\udcff" in log.read_text(encoding="utf-8")
    assert log.name in capsys.readouterr().err


def test_a_damaged_installation_is_no_moved_accuracy(tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise ImportError('broken')")
    path = os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [*COMMAND, "check"], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": path}
    )
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
