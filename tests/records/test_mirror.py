"""Records and checkpoints at a URL: a folder, and S3 where $MOTO_SERVER names a moto server."""

from __future__ import annotations

import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from subspace_bench.common.errors import Unwritable, UserError
from subspace_bench.records.config import RunConfig, TrainingConfig
from subspace_bench.records.mirror import Mirror
from subspace_bench.records.store import Store
from subspace_bench.training import runner
from subspace_bench.training.loop import Interrupted
from subspace_bench.training.runner import train_and_mirror, train_and_store

pytest.importorskip("obstore")

PROTOCOL = TrainingConfig(steps=12, batch=16, lr=3e-3, score_first=6, score_every=6)
RUN = RunConfig("mlp-16", "default", PROTOCOL, dataset="mnist-5k")


@pytest.fixture(scope="module")
def s3() -> Iterator[str]:
    """The endpoint of a local S3 server with one bucket."""
    if "MOTO_SERVER" not in os.environ:
        pytest.skip("needs $MOTO_SERVER, which `nox -s cluster` sets")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    server = subprocess.Popen([os.environ["MOTO_SERVER"], "-p", str(port)])
    endpoint, end = f"http://127.0.0.1:{port}", time.monotonic() + 60
    while True:
        try:
            urllib.request.urlopen(urllib.request.Request(f"{endpoint}/bucket", method="PUT"))
            break
        except OSError:
            assert time.monotonic() < end
            time.sleep(0.2)
    yield endpoint
    server.terminate()
    server.wait()


@pytest.fixture(params=["folder", "s3"])
def url(request, tmp_path: Path, monkeypatch) -> str:
    """Where a mirror is."""
    if request.param == "folder":
        return (tmp_path / "mirror").as_uri()
    monkeypatch.setenv("AWS_ENDPOINT_URL", request.getfixturevalue("s3"))
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    return f"s3://bucket/{tmp_path.name}"


def test_an_interrupted_run_continues_on_another_machine(url: str, tmp_path, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        calls = iter([False] * 8)
        patch.setattr(runner, "should_stop", lambda: next(calls, True))
        with pytest.raises(Interrupted):
            train_and_mirror(RUN, Mirror(url), None)
    assert Mirror(url).names() == {f"{RUN.name}.checkpoint"}
    record = train_and_mirror(RUN, Mirror(url), None)
    assert record.result == train_and_store(RUN, tmp_path / "here", None).result
    assert Mirror(url).names() == {f"{RUN.name}.json"}


def test_folder_and_url_get_each_other_s_records(url: str, tmp_path: Path) -> None:
    ours, theirs = Store(tmp_path / "ours"), Store(tmp_path / "theirs")
    train_and_store(RUN, ours.folder, None)
    other = RUN.with_steps(6)
    train_and_mirror(other, Mirror(url), None)
    Mirror(url).merge(ours.folder)
    Mirror(url).merge(theirs.folder)
    names = {f"{run.name}.json" for run in (RUN, other)}
    assert Mirror(url).names() == names
    assert {path.name for path in theirs.folder.iterdir()} == names
    assert list(ours.records()) == list(theirs.records())


@pytest.mark.parametrize("url", ["nonsense", "nosuch://bucket", "file:///dev/null/x"])
def test_a_url_that_cannot_be_used(url: str, tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(UserError, match=r"^[^\n]*$"):
        Mirror(url).merge(tmp_path)


def test_a_folder_that_was_replaced(tmp_path: Path) -> None:
    folder, file = tmp_path / "mirror", tmp_path / "x.json"
    file.write_text("{}")
    mirror = Mirror(folder.as_uri())
    folder.rmdir()
    folder.write_text("")
    with pytest.raises(Unwritable, match=r"^[^\n]*$"):
        mirror.send(file)


def test_a_bucket_that_does_not_exist(s3: str, tmp_path: Path, monkeypatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3)
    monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(Unwritable, match=r"^[^\n]*$"):
        Mirror("s3://missing/x").merge(tmp_path)
