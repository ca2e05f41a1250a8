"""What people expect of any command line: ~, completion, JSON, a model as an argument."""

from __future__ import annotations

import json
from pathlib import Path
from typing import get_args, get_type_hints

import pytest
from typer.models import ParameterInfo

from subspace_bench import models
from subspace_bench.cli import app
from subspace_bench.cli.options import expand
from subspace_bench.experiments import STUDIES

COMMANDS = [command.callback for command in app.registered_commands]


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command.__name__)
def test_every_path_option_expands_a_home(command) -> None:
    for name, hint in get_type_hints(command, include_extras=True).items():
        if "pathlib.Path" in str(hint):
            [option] = [part for part in get_args(hint) if isinstance(part, ParameterInfo)]
            assert option.parser is expand, name


def test_a_home_is_found_after_an_equals_sign_too(call, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    code, out, _ = call("list", "--out=~/mine", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["records"][1]["folder"] == str(tmp_path / "mine" / "runs")
    assert [row["model"] for row in found["models"]] == list(models.MODELS)
    assert [row["page"] for row in found["pages"]] == list(STUDIES)


def test_a_home_that_no_user_has(call) -> None:
    code, _, err = call("list", "--out", "~nosuchuser/x")
    assert (code, err.count("\n")) == (2, 1)
    assert "~nosuchuser" in err


def test_the_model_may_be_an_argument(call, tmp_path: Path) -> None:
    out = ("--out", str(tmp_path))
    code, _, err = call("train", "nope", *out)
    assert (code, "unknown model 'nope'" in err) == (2, True)
    code, _, err = call("train", "fc", "--model", "conv", *out)
    assert (code, "fc" in err) == (2, True)


@pytest.mark.parametrize(
    "words, expected",
    [
        ("re", {"reproduce", "report"}),
        ("train --device ", {"cpu", "cuda", "auto"}),
        ("reproduce --profile ", {"quick", "post", "full"}),
    ],
)
def test_shells_complete(words: str, expected: set[str], call, monkeypatch) -> None:
    monkeypatch.setenv("_SUBSPACE_BENCH_COMPLETE", "complete_bash")
    monkeypatch.setenv("COMP_WORDS", f"subspace-bench {words}")
    monkeypatch.setenv("COMP_CWORD", str(len(f"subspace-bench {words}".split(" ")) - 1))
    code, out, _ = call()
    assert code == 0
    assert set(out.split()) == expected
