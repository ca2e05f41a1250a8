"""What comes from others: actions, downloads, dependencies."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from benchmarks.torture.campaigns import Row, Setting
from subspace_bench.datasets.catalog import IDX_DATASETS

HERE = Path(__file__).parents[2]
USES = re.compile(r"uses: *(\S+)")
PINNED = re.compile(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}")
LOCK = HERE / "requirements-ci.txt"
INSTALLS = re.compile(r'^.*\b(?:pip"?,? "?install|session\.install|pipx run)\b.*$', re.MULTILINE)
UNHASHED = (  # in a line of CI: versions that nobody knows in advance, our own, or a pinned tool
    "${{ matrix.install }}", "./accuracy-regression", "dist/*.whl", "pip-audit==", "MOTO",
    'pip = (str(python)',  # the next lines have --require-hashes, or install this package
)  # fmt: skip
LOCKED = re.compile(r"^([\w.-]+)(?:==(\S+))?((?:.*\\\n)*.*)$", re.MULTILINE)


def locked(path: Path) -> Iterator[tuple[str, str, list[str]]]:
    """Name, version and SHA-256 hashes of each requirement in a file."""
    for name, version, rest in LOCKED.findall(path.read_text(encoding="utf-8")):
        yield name, version, re.findall(r"--hash=sha256:([0-9a-f]{64})\b", rest)


def rows(setting: Setting) -> Iterator[Row]:
    row = Row("actions of CI are pinned by commit")
    for path in (HERE / ".github").rglob("*.yml"):
        for name in USES.findall(path.read_text(encoding="utf-8")):
            row.count(*([] if PINNED.fullmatch(name) else [f"{path.name}: {name}"]))
    yield row

    row = Row("packages that CI installs are pinned by version and SHA-256, which pip checks")
    locks = LOCK, HERE / "requirements-nox.txt", HERE / "requirements-release.txt"
    for name, version, hashes in (package for path in locks for package in locked(path)):
        row.count(*([] if version and hashes else [f"{name}: no version or no hash"]))
    yield row

    row = Row("downloads: mirrors of https, files of known SHA-256")
    for known in IDX_DATASETS.values():
        row.count(*(url for url in known.mirrors if not url.startswith("https://")))
        row.report(*(f"{known.folder}: {h}" for h in known.sha256 if len(h) != 64))
    yield row

    row = Row("ruff's security rules (S), files")
    command = [sys.executable, "-m", "ruff", "check", "--output-format", "json"]
    found = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
    row.times = sum(
        1 for folder in ("subspace_bench", "benchmarks") for _ in HERE.glob(f"{folder}/**/*.py")
    )
    broken = [v for v in json.loads(found.stdout) if v["code"].startswith("S")]
    row.report(*(f"{v['filename']}: {v['message']}" for v in broken))
    yield row

    row = Row("what may install without hashes: the newest versions, the oldest, our own wheels")
    for path in [*(HERE / ".github").rglob("*.yml"), HERE / "noxfile.py"]:
        for line in INSTALLS.findall(path.read_text(encoding="utf-8")):
            fine = "--require-hashes" in line or any(text in line for text in UNHASHED)
            row.count(*([] if fine else [f"{path.name}: {line.strip()}"]))
    yield row

    row = Row("pip-audit: pinned versions without a known vulnerability")
    audit = shutil.which("pip-audit")
    if not setting.short and audit is None:
        row.measured = "not tried: pip-audit is not installed; CI runs it"
        yield row
    elif not setting.short and audit is not None:
        pins = ["--requirement", str(LOCK), "--require-hashes", "--disable-pip"]
        command = [audit, *pins, "--format", "json", "--progress-spinner", "off"]
        answer = subprocess.run(command, capture_output=True, text=True)
        packages = json.loads(answer.stdout or "{}").get("dependencies", [])
        skipped = [package for package in packages if "skip_reason" in package]
        row.times = len(packages) - len(skipped)
        for package in packages:
            names = [vulnerability["id"] for vulnerability in package.get("vulns", [])]
            row.report(*(f"{package['name']} {package.get('version')}: {name}" for name in names))
        if skipped:
            row.measured = f"{len(skipped)} unknown to the index asked; CI asks PyPI"
        if not packages:
            row.report(answer.stderr.strip().splitlines()[-1] if answer.stderr else "no answer")
        yield row
