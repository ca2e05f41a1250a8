"""The notebook in examples/ runs from top to bottom, and finds what its committed outputs show."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

PATH = Path(__file__).parents[1] / "examples" / "subspace_in_ten_minutes.ipynb"
SECONDS = 600  # for one cell, on a busy machine


def printed(notebook: Any) -> str:
    """What all cells print."""
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", [])]
    return "".join(output.get("text", "") for output in outputs)


def dimension(text: str) -> int:
    [found] = re.findall(r"about ([\d,]+) numbers would do", text)
    return int(found.replace(",", ""))


def accuracies(text: str) -> dict[str, float]:
    return {name: float(value) for name, value in re.findall(r"([Dd] = [\d,]+): ([\d.]+)%", text)}


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of Jupyter's own code
def test_the_notebook_finds_what_it_shows(monkeypatch) -> None:
    nbclient, nbformat = pytest.importorskip("nbclient"), pytest.importorskip("nbformat")
    pytest.importorskip("ipykernel")
    # The kernel imports this copy of the package.
    path = os.pathsep.join([str(PATH.parents[1]), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)
    notebook = nbformat.read(PATH, as_version=4)
    committed = printed(notebook)
    nbclient.NotebookClient(notebook, timeout=SECONDS, kernel_name="python3").execute()
    now = printed(notebook)
    assert accuracies(now).keys() == accuracies(committed).keys() == {"D = 25,450", "d = 100"}
    for name, value in accuracies(committed).items():
        assert abs(accuracies(now)[name] - value) < 5
    assert 2 / 3 < dimension(now) / dimension(committed) < 3 / 2
