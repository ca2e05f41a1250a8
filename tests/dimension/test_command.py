"""`subspace-bench dimension` as a user calls it: pages, JSON, several tasks, bad input, Ctrl-C."""

from __future__ import annotations

import json
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pandas as pd
import pytest

from subspace_bench import cli
from subspace_bench.dimension import task

TASK = """
import torch
from torch import nn

higher_is_better = False


def build(seed):
    return nn.Linear(30, 1, bias=False)


def train(net, seed):
    x = torch.randn(64, 30)
    y = x.sum(1, keepdim=True)
    optimizer = torch.optim.LBFGS(net.parameters(), max_iter=20)

    def closure():
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(net(x), y)
        loss.backward()
        return loss

    optimizer.step(closure)
    return closure().item()
"""
BUDGET = ("--threshold", "15", "--trainings", "6", "--projector", "sparse")
Call = Callable[..., tuple[int, str, str]]


@pytest.fixture
def call(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Call]:
    """The command line within this process, in a folder of its own: (exit code, out, err)."""
    before, modules = signal.getsignal(signal.SIGTERM), set(sys.modules)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])

    def call(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["subspace-bench", "dimension", *arguments])
        with pytest.raises(SystemExit) as end:
            cli.main(["dimension", *arguments])
        out, err = capsys.readouterr()
        assert isinstance(end.value.code, int)
        return end.value.code, out, err

    yield call
    signal.signal(signal.SIGTERM, before)
    task.load.cache_clear()
    for name in set(sys.modules) - modules:  # the next test has another file of the same name
        if Path(getattr(sys.modules[name], "__file__", None) or "/").parent == tmp_path:
            del sys.modules[name]


def test_it_writes_a_page_and_continues(call: Call) -> None:
    Path("linear.py").write_text(TASK)
    code, out, err = call("linear.py", *BUDGET)
    assert code == 0, err
    (content,) = json.loads(Path("dimension/dimension.json").read_text())
    assert (content["task"], content["native"], content["target"]) == ("linear", 30, 15.0)
    low, high = content["interval"]
    assert low <= content["dimension"] <= (high or 30)
    page = Path("dimension/dimension.md").read_bytes()
    assert f"about {content['dimension']} numbers".encode() in page
    assert Path("dimension/figures/dimension-linear.svg").exists()
    assert f"about {content['dimension']} numbers" in out
    assert "dimension.md" in out
    finished = pd.read_csv("dimension/trainings/linear.csv")
    assert len(finished) == 9
    assert len(err.splitlines()) == 9 + 1
    code, out, err = call("linear.py", *BUDGET)
    assert code == 0
    assert err == ""  # nothing is trained again
    assert Path("dimension/dimension.md").read_bytes() == page


def test_several_tasks_make_one_table(call: Call) -> None:
    Path("linear.py").write_text(TASK)
    Path("wider.py").write_text(TASK.replace("30", "60"))
    code, _, err = call("linear.py", "wider.py", *BUDGET, "--out", "both")
    assert code == 0, err
    contents = json.loads(Path("both/dimension.json").read_text())
    assert [content["native"] for content in contents] == [30, 60]
    table = [line for line in Path("both/dimension.md").read_text().splitlines() if "|" in line]
    assert [line.split("|")[1].strip() for line in table[2:]] == ["linear", "wider"]


def test_ctrl_c_keeps_finished_trainings(call: Call) -> None:
    interrupted = TASK.replace("    x = ", "    if seed == 4: raise KeyboardInterrupt\n    x = ")
    Path("linear.py").write_text(interrupted)
    code, _, err = call("linear.py", *BUDGET)
    assert code == 130
    assert f"subspace-bench dimension linear.py {' '.join(BUDGET)}" in err.splitlines()[-1]
    assert len(pd.read_csv("dimension/trainings/linear.csv")) == 3 + 4


def test_trainings_of_other_code_are_not_mixed(call: Call) -> None:
    Path("linear.py").write_text(TASK)
    assert call("linear.py", *BUDGET)[0] == 0
    Path("linear.py").write_text(TASK.replace("max_iter=20", "max_iter=10"))
    del sys.modules["linear"]
    task.load.cache_clear()
    code, _, err = call("linear.py", *BUDGET)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert len(pd.read_csv("dimension/trainings/linear.csv")) == 9


FILES = {
    "empty.py": "",
    "broken.py": "import nothing_of_this_name",
    "syntax.py": "def build(seed):",
    "leaves.py": "raise SystemExit(0)",
    "half.py": "def build(seed): ...",
    "text.py": "build = train = 'text'",
    "unsure.py": "build = train = print\nhigher_is_better = 'yes'",
    "json.py": "build = train = print",
    "whole.py": TASK,
    "rated.py": TASK.replace("net, seed", "net, seed, rate=1.0"),
}


@pytest.mark.parametrize(
    "arguments",
    [
        *([name] for name in FILES if name not in ("whole.py", "rated.py")),
        ["nowhere.py"],
        ["no.such.module:task"],
        ["json:nothing"],
        ["whole.py", "whole.py"],
        ["whole.py", "--target", "2"],
        ["whole.py", "--trainings", "1"],
        ["whole.py", "--minutes", "0"],
        ["whole.py", "--jobs", "0"],
        ["whole.py", "--projector", "hased"],
        ["whole.py", "--threshold", "nan"],
        ["whole.py", "--threshold", "1", "--within", "1"],
        ["whole.py", "--out", "whole.py"],
        ["whole.py", "--rates", "0.1,0.2"],
        ["rated.py", "--rates", "a,b"],
        ["rated.py", "--rates", "0.1,0.1"],
        ["rated.py", "--rates", "0.1,0.2", "--trainings", "13"],
        [],
    ],
    ids=" ".join,
)
def test_bad_input_ends_with_two_and_one_line(arguments: list[str], call: Call) -> None:
    for name, text in FILES.items():
        Path(name).write_text(text)
    code, _, err = call(*arguments)
    assert code == 2
    assert len(err.splitlines()) == 1
    assert not Path("dimension").exists()


def test_a_training_that_fails_ends_with_two_and_one_line(call: Call) -> None:
    Path("linear.py").write_text(TASK.replace("return closure().item()", "return float('nan')"))
    code, _, err = call("linear.py", *BUDGET)
    assert code == 2
    assert len(err.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("forked_workers")
def test_parallel_trainings(call: Call) -> None:
    Path("linear.py").write_text(TASK)
    code, _, err = call("linear.py", *BUDGET, "--jobs", "2")
    assert code == 0, err
    finished = pd.read_csv("dimension/trainings/linear.csv")
    assert sorted(finished.query("model == 'subspace'")["seed"]) == list(range(6))
    assert json.loads(Path("dimension/dimension.json").read_text())[0]["native"] == 30


def test_results_are_written_before_they_are_printed(
    call: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **options: object) -> None:
        if "file" not in options:
            raise KeyboardInterrupt

    Path("linear.py").write_text(TASK)
    command = sys.modules["subspace_bench.cli.dimension"]  # the package has a function of that name
    monkeypatch.setattr(command, "print", broken, raising=False)
    assert call("linear.py", *BUDGET)[0] == 130
    assert Path("dimension/dimension.json").exists()
    assert Path("dimension/dimension.md").exists()
