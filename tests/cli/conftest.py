"""The command line within the process of a test."""

from __future__ import annotations

import signal

import pytest

from subspace_bench import cli
from subspace_bench.experiments import projectors
from subspace_bench.records import committed
from subspace_bench.records.store import Store


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


@pytest.fixture(scope="module")
def no_committed_records(tmp_path_factory):
    """Spares each command half a second, in which it reads all of results/records."""
    empty = Store(tmp_path_factory.mktemp("committed") / "records")
    with pytest.MonkeyPatch.context() as patch:
        for module in (committed, projectors):
            patch.setattr(module, "committed_store", lambda: empty)
        yield
