"""Tasks from files and packages, and the code that their trainings belong to."""

from __future__ import annotations

import dataclasses
import sys
from pathlib import Path

import pytest
from torch import nn

from subspace_bench.common.errors import UserError
from subspace_bench.dimension.task import Task, load


def build(seed: int) -> nn.Module:
    return nn.Linear(100, 1, bias=False)


def train(net: nn.Module, seed: int) -> float:
    return 1.0


def test_a_task_of_a_package_is_loaded_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", [*sys.path])
    task = load(f"{__name__}:TASK")
    assert (task.name, task.build, task.train) == ("TASK", build, train)
    with pytest.raises(UserError):
        load("json:decoder")


TASK = Task("task", build, train)


def test_the_direction_does_not_change_the_code(tmp_path: Path) -> None:
    path, other = tmp_path / "scores.py", tmp_path / "losses.py"
    text = "def build(seed): ...\ndef train(net, seed): ...\n"
    path.write_text("higher_is_better = True\n" + text)
    other.write_text("higher_is_better = False\n" + text)
    first, second = load(str(path)), load(str(other))
    assert (first.higher_is_better, second.higher_is_better) == (True, False)
    assert first.code_digest() == second.code_digest() != ""
    assert dataclasses.replace(first, build=build).code_digest() != first.code_digest()


def test_an_edit_of_an_imported_module_changes_the_code(tmp_path: Path) -> None:
    task, model, data = (tmp_path / f"{name}.py" for name in ("mine_task", "mine_model", "data_of"))
    task.write_text("def build(seed): ...\ndef train(net, seed):\n    import mine_model, torch\n")
    model.write_text("import data_of\n")
    data.write_text("SIZE = 1\n")
    loaded = load(str(task))
    before = loaded.code_digest()
    assert loaded.code_digest() == before
    data.write_text("SIZE = 2\n")
    assert loaded.code_digest() != before
