"""A copy of a store at a URL: s3://bucket/path, gs://…, az://…, file:///….

Records are written locally, as without a mirror, and sent to the URL as they are finished. Objects
are written whole or not at all, and two writers of one record write the same result, so there are
no locks.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from subspace_bench.common.errors import Unwritable, UserError
from subspace_bench.common.files import write_atomically

PATIENCE = timedelta(seconds=30)  # for one request, with its repetitions


class Mirror:
    """Files at a URL, by their names. Credentials and endpoints come from the environment, such
    as $AWS_ACCESS_KEY_ID and $AWS_ENDPOINT_URL.

    Raises:
        UserError: obstore is not installed, or the URL is not one that it knows.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.sent: dict[str, int] = {}  # name → when the file that was sent was written, in ns
        try:
            from obstore.store import from_url
        except ImportError as failure:
            raise UserError(
                f'--mirror needs obstore ({failure}): pip install "subspace-bench[s3]"'
            ) from failure
        options: dict[str, Any] = {"retry_config": {"retry_timeout": PATIENCE}}
        if url.startswith("file:"):
            options = {"mkdir": True}
        try:
            self.store = from_url(url, **options)
        except Exception as failure:
            raise UserError(f"--mirror {url}: {first_line(failure)}") from failure

    def __reduce__(self) -> tuple[type[Mirror], tuple[str]]:
        return Mirror, (self.url,)  # machines read their own credentials

    def names(self) -> set[str]:
        """The names of all files."""
        with self.answering():
            return {item["path"] for page in self.store.list() for item in page}

    def fetch(self, path: Path) -> None:
        """Writes the file of this name, if there is one at the URL."""
        with self.answering():
            try:
                content = bytes(self.store.get(path.name).bytes())
            except FileNotFoundError:
                return
        write_atomically(path, content)

    def send(self, path: Path) -> None:
        """Copies a file to the URL, if it exists and was written since it was last sent."""
        if not path.exists():
            return
        written = path.stat().st_mtime_ns
        if self.sent.get(path.name) != written:
            with self.answering():
                self.store.put(path.name, path.read_bytes())
            self.sent[path.name] = written

    def delete(self, *paths: Path) -> None:
        """Deletes the files of these names at the URL, if there are any."""
        for path in paths:
            self.sent.pop(path.name, None)
            with self.answering(), suppress(FileNotFoundError):
                self.store.delete(path.name)

    def merge(self, folder: Path) -> None:
        """Makes the records in a folder and at the URL the same: all that one of them has."""
        there = {name for name in self.names() if name.endswith(".json")}
        here = {path.name for path in folder.glob("[!.]*.json")}
        for name in sorted(there - here):
            self.fetch(folder / name)
        for name in sorted(here - there):
            self.send(folder / name)

    @contextmanager
    def answering(self) -> Iterator[None]:
        """Raises Unwritable where the URL does not answer, or forbids it."""
        try:
            yield
        except Exception as failure:
            raise Unwritable(
                f"cannot use {self.url} ({first_line(failure)}): correct --mirror or its "
                "credentials; the same command continues"
            ) from failure


def first_line(failure: Exception) -> str:
    """The first line of an exception's text, or its type."""
    return (str(failure).strip().splitlines() or [type(failure).__name__])[0]
