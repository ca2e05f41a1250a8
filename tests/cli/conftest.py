"""The command line within the process of a test."""

from __future__ import annotations

import signal

import pytest

from subspace_bench import cli


@pytest.fixture
def call(capsys):
    """The command line within this process, which has torch already: (exit code, out, err)."""
    before = signal.getsignal(signal.SIGTERM)

    def call(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            cli.main(list(arguments))
        out, err = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return end.value.code, out, err

    yield call
    signal.signal(signal.SIGTERM, before)
