"""What the README and other documents show works: Python blocks run, links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).parents[1]
DOCUMENTS = (
    "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/gpu.md", "docs/records.md",
    "docs/subspace.md",
)  # fmt: skip
BLOCKS = re.findall(r"^```python\n(.*?)^```", (ROOT / "README.md").read_text(), re.M | re.S)


TRAINING = next(block for block in BLOCKS if "OneCycleLR" in block)
OTHERS = [block for block in BLOCKS if block is not TRAINING]


def run(block: str, **names: object) -> dict[str, object]:
    exec(compile(block, "README.md", "exec"), names)
    return names


@pytest.mark.slow
def test_the_training_loop_of_the_readme_is_accurate() -> None:
    state = torch.get_rng_state()
    try:
        accuracy = run(TRAINING)["accuracy"]
    finally:
        torch.set_rng_state(state)
    assert accuracy > 0.93  # type: ignore[operator]


@pytest.mark.parametrize("block", OTHERS, ids=range(len(OTHERS)))
def test_python_blocks_of_the_readme_run(block: str) -> None:
    checked = []

    class Fixture:
        def check(self, train: object) -> None:
            checked.append(train)

    def train(seed: int) -> float:
        return 97.0 + seed / 10

    names = run(block, train=train)
    tests = [value for name, value in names.items() if name.startswith("test_")]
    for test in tests:
        test(Fixture())  # type: ignore[operator]
    assert checked == [train] * len(tests)


def test_the_readme_has_blocks_to_run() -> None:
    assert len(BLOCKS) == 3


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_to_files_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text()
    targets = re.findall(r"\]\(([^)#]+)", text)
    folder = (ROOT / document).parent
    missing = [t for t in targets if "://" not in t and not (folder / t).exists()]
    assert not missing
