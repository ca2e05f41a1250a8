"""What the README and other documents show works: Python blocks run, links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/gpu.md", "docs/subspace.md")
BLOCKS = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)


@pytest.mark.parametrize("block", BLOCKS, ids=range(len(BLOCKS)))
def test_python_blocks_of_the_readme_run(block: str) -> None:
    checked = []

    class Fixture:
        def check(self, train: object) -> None:
            checked.append(train)

    def train(seed: int) -> float:
        return 97.0 + seed / 10

    names: dict[str, object] = {"train": train}
    exec(compile(block, "README.md", "exec"), names)
    tests = [value for name, value in names.items() if name.startswith("test_")]
    for test in tests:
        test(Fixture())  # type: ignore[operator]
    assert checked == [train] * len(tests)


def test_the_readme_has_blocks_to_run() -> None:
    assert len(BLOCKS) == 2


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_to_files_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text()
    targets = re.findall(r"\]\(([^)#]+)", text)
    folder = (ROOT / document).parent
    missing = [t for t in targets if "://" not in t and not (folder / t).exists()]
    assert not missing
