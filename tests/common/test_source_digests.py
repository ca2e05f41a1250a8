"""Digests of source code follow the code, and only it."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

from subspace_bench.common import source_digests

CODE = (
    '"""Doc."""\nimport helper_of_plugin\n\n\ndef f(x):\n    """Doc."""\n    return x + 1  # why\n'
)


def digest_of(folder: Path, code: str, helper: str = "y = 2\n") -> str:
    (folder / "some_plugin.py").write_text(code)
    (folder / "helper_of_plugin.py").write_text(helper)
    importlib.invalidate_caches()
    for cached in (source_digests.module_digest, source_digests.imports_of, source_digests.code_of):
        cached.cache_clear()
    return source_digests.module_digest("some_plugin", ("helper_of_plugin",))


def test_a_module_digest_follows_its_code_and_its_imports(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    first = digest_of(tmp_path, CODE)
    assert digest_of(tmp_path, CODE) == first
    assert digest_of(tmp_path, CODE.replace("Doc", "Text").replace("why", "because")) == first
    assert digest_of(tmp_path, CODE.replace("x + 1", "x + 2")) != first
    assert digest_of(tmp_path, CODE, "y = 3\n") != first


@pytest.mark.parametrize("name, text, changes", [
    ("a.py", "x = 2\n", True), ("a.py", "x = 1  # why\n", True), ("b.toml", "c = 2\n", True),
    ("notes.txt", "new", False), ("a.pyc", "new", False)])  # fmt: skip
def test_the_package_digest_follows_every_source(
    name, text, changes, tmp_path, monkeypatch
) -> None:
    (tmp_path / "a.py").write_text("x = 1\n")
    (tmp_path / "b.toml").write_text("c = 1\n")
    monkeypatch.setattr(source_digests, "PACKAGE", tmp_path)
    before = source_digests.package_digest.__wrapped__()
    (tmp_path / name).write_text(text)
    assert (source_digests.package_digest.__wrapped__() != before) is changes
