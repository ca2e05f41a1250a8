"""What the README and other documents show works: Python blocks run, links lead somewhere."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from subspace_bench import intrinsic_dimension

ROOT = Path(__file__).parents[1]
DOCUMENTS = ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
DOCUMENTS += sorted(f"docs/{path.name}" for path in (ROOT / "docs").glob("*.md"))
BLOCKS = {
    f"{document}-{number}": block
    for document in DOCUMENTS
    for number, block in enumerate(
        re.findall(r"^```python\n(.*?)^```", (ROOT / document).read_text(), re.M | re.S)
    )
}
TRAINING = next(block for block in BLOCKS.values() if "OneCycleLR" in block)
OTHERS = {name: block for name, block in BLOCKS.items() if block is not TRAINING}


def run(block: str, **names: object) -> dict[str, object]:
    exec(compile(block, "block", "exec"), names)
    return names


@pytest.mark.slow
def test_the_training_loop_of_the_readme_is_accurate() -> None:
    state = torch.get_rng_state()
    try:
        accuracy = run(TRAINING)["accuracy"]
    finally:
        torch.set_rng_state(state)
    assert 0.93 < accuracy < 0.96  # type: ignore[operator]


@pytest.mark.slow
def test_the_dimension_that_the_readme_prints_is_found_again() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    printed = re.search(r"95% interval (\d+) to (\d+)\);\s+it trains ([\d,]+)", text)
    assert printed
    low, high, native = (int(number.replace(",", "")) for number in printed.groups())
    task = run(next(block for block in BLOCKS.values() if "load_digits" in block))
    state = torch.get_rng_state()
    try:
        result = intrinsic_dimension(task["build"], task["train"], trainings=6)  # type: ignore[arg-type]
    finally:
        torch.set_rng_state(state)
    assert result.native == native
    assert result.interval[0] <= high
    assert low <= (result.interval[1] or native)


@pytest.mark.parametrize("block", OTHERS.values(), ids=OTHERS)
def test_python_blocks_of_the_documents_run(
    block: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With a task of no work, and a fixture that notes what it is given."""
    monkeypatch.chdir(tmp_path)  # where searches keep their trainings
    checked = []

    class Fixture:
        def check(self, train: object) -> None:
            checked.append(train)

    def train(net: torch.nn.Module | int, seed: int = 0) -> float:
        """Moves every parameter by 1: the score grows with d."""
        if isinstance(net, int):
            return 97.0 + net / 10
        dim = 0
        for parameter in net.parameters():
            parameter.data += 1
            dim += parameter.numel()
        return dim + seed / 10

    def build(seed: int) -> torch.nn.Module:
        return torch.nn.Linear(9, 2)

    names = run(block, train=train, build=build)
    tests = [value for name, value in names.items() if name.startswith("test_")]
    for test in tests:
        test(Fixture())  # type: ignore[operator]
    assert checked == [train] * len(tests)


def test_the_documents_have_blocks_to_run() -> None:
    assert len(BLOCKS) == 11


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_to_files_lead_somewhere(document: str) -> None:
    text = (ROOT / document).read_text()
    targets = re.findall(r"\]\(([^)#]+)", text)
    folder = (ROOT / document).parent
    missing = [t for t in targets if "://" not in t and not (folder / t).exists()]
    assert not missing
