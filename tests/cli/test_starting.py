"""What can happen while the program starts, before the command line is imported."""

from __future__ import annotations

import builtins
import os
import subprocess
import sys

import pytest

from subspace_bench import __main__ as program


@pytest.mark.parametrize(("failure", "code"), [(KeyboardInterrupt, 130), (ImportError, 3)])
def test_a_start_that_fails_has_its_exit_code_and_no_traceback(
    failure: type[BaseException], code: int, monkeypatch, capsys
) -> None:
    def refuse(name: str, *rest: object) -> object:
        if name == "subspace_bench" and rest[2] == ("cli",):
            raise failure
        return original(name, *rest)

    original = builtins.__import__
    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(SystemExit) as ended:
        program.main()
    assert ended.value.code == code
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("gigabytes", [1, 3])
@pytest.mark.skipif(sys.platform != "linux", reason="others may have no such limit")
def test_too_little_address_space_is_one_line(gigabytes: int) -> None:
    import resource

    limit = int(gigabytes * 1e9)
    done = subprocess.run(
        [sys.executable, "-m", "subspace_bench", "train", "--steps", "1"],
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit)),
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert f"{gigabytes}.0 GB" in done.stderr
