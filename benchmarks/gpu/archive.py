"""The one file that a GPU machine sends back: `gpu.tar.gz`, at most 16 MB.

It has the folder of results and a manifest with the machine, the sources that measured, and the
SHA-256 of every file. It is also what a later run resumes from.
"""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from subspace_bench.common.errors import UserError
from subspace_bench.common.files import write_atomically

NAME, MANIFEST, FORMAT = "gpu.tar.gz", "manifest.json", 1
MOST_BYTES = 16_000_000
ROOT = Path(__file__).parents[2]
SOURCES = ("subspace_bench", "benchmarks")  # whose code the numbers depend on


def pack(work: Path, path: Path, facts: dict[str, Any]) -> list[str]:
    """Writes the archive of a folder; leaves out the largest files beyond MOST_BYTES.

    Returns:
        The names of files left out.
    """
    files = {p.relative_to(work).as_posix(): p.read_bytes() for p in sorted(work.rglob("*"))
             if p.is_file() and not p.name.startswith(".")}  # fmt: skip
    left_out: list[str] = []
    while True:
        manifest = {
            "format": FORMAT,
            "facts": facts,
            "left_out": left_out,
            "sha256": {name: hashlib.sha256(data).hexdigest() for name, data in files.items()},
        }
        text = json.dumps(manifest, indent=1, ensure_ascii=False).encode()
        content = compress({MANIFEST: text, **files})
        if len(content) <= MOST_BYTES or not files:
            write_atomically(path, content)
            return left_out
        largest = max(files, key=lambda name: len(files[name]))
        left_out.append(largest)
        del files[largest]


def compress(files: dict[str, bytes]) -> bytes:
    """A tar.gz of files."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def unpack(path: Path, work: Path) -> dict[str, Any]:
    """Writes the files of an archive into a folder, and returns its manifest.

    Raises:
        UserError: if the archive is missing, damaged, or of another format.
    """
    try:
        with tarfile.open(path) as tar:
            files = {m.name: tar.extractfile(m).read() for m in tar if m.isfile()}  # type: ignore[union-attr]
        manifest: dict[str, Any] = json.loads(files.pop(MANIFEST))
        expected = manifest["sha256"]
        actual = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
        if manifest["format"] != FORMAT or actual != expected:
            raise ValueError("its contents do not match its manifest")
        if any(Path(name).is_absolute() or ".." in Path(name).parts for name in files):
            raise ValueError("it has files outside its folder")
    except FileNotFoundError as failure:
        raise UserError(f"there is no archive {path}") from failure
    except (OSError, EOFError, ValueError, KeyError, TypeError, tarfile.TarError) as failure:
        raise UserError(
            f"{path} is no archive of benchmarks.gpu, or it is damaged ({failure}): copy it again"
        ) from failure
    for name, data in files.items():
        write_atomically(work / name, data)
    return manifest


def sources_digest() -> str:
    """Twelve digits of a hash over the code that measures; it needs no git."""
    content = hashlib.sha256()
    for folder in SOURCES:
        for path in sorted((ROOT / folder).rglob("*.py")):
            content.update(path.relative_to(ROOT).as_posix().encode() + b"\0" + path.read_bytes())
    return content.hexdigest()[:12]
