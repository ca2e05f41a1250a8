"""Generated command lines, task files and API calls: each ends in a result or in one clear line."""

from __future__ import annotations

import contextlib
import io
import itertools
import os
import random
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import torch
from torch import nn

from benchmarks.torture import processes, tiny
from benchmarks.torture.campaigns import Row, Setting
from subspace_bench import Subspace, cli, intrinsic_dimension, projectors
from subspace_bench.common.errors import UserError
from subspace_bench.profiling import worker
from subspace_bench.records.config import RunConfig, TrainingConfig
from subspace_bench.training import runner

HANG_SECONDS = 120  # also on a machine that is busy
NUMBERS = (
    "0", "1", "-1", "2", "3", "10", "1.5", "-0.0", "1e3", "1e400", "nan", "inf", "-inf", "0x10",
    "1_000", "٣", "9" * 30, "9" * 5_000, "", " ", "two", "1,2", "1;2", "--", "2147483648",
)  # fmt: skip
WORDS = (
    "mnist", "mnist-5k", "fashion-mnist", "conv", "mlp-16", "gaussian", "hashed", "orthonormal",
    "nosuch", "", " ", "zero", "init", "quick", "post", "full", "cpu", "auto", "float32", "int8",
    "normal:0.01", "normal:", "normal:nan", "he", "zeros", "tiny", "θ", "a\nb", "<b>", "%s", "{}",
    "-", "--plan", "$(touch x)", "; touch x", "\x00", "\ud800", "x" * 5_000,
)  # fmt: skip
OPTIONS = {
    "reproduce": ("--seeds", "--profile", "--device", "--jobs", "--data", "--plan", "--force",
                  "--executor", "--address", "--mirror", "--tensorboard", "--out"),
    "train": ("--model", "--dim", "--projector", "--origin", "--init", "--seed", "--steps", "--lr",
              "--dataset", "--device", "--threads", "--data", "--force", "--tensorboard", "--out"),
    "report": ("--profile", "--dataset", "--committed-only", "--out"),
    "watch": ("--help",),
    "export": ("--out", "--curves", "--local"),
    "data": ("--data", "--dataset"),
    "compare": ("--projectors", "--native", "--dims", "--device", "--dtype", "--repeat", "--plan",
                "--force", "--minutes", "--rebuild", "--out"),
    "dimension": ("--target", "--threshold", "--within", "--trainings", "--minutes",
                  "--interval-ratio", "--projector", "--jobs", "--rates", "--scaling", "--out"),
    "check": ("--reference", "--bitwise", "--seeds", "--alpha", "--jobs", "--first-seed",
              "--report", "--data"),
    "list": ("--out",),
    "": ("--version", "--help", "--nosuch"),
}  # fmt: skip
WRITTEN = ("--out", "--report", "--tensorboard", "--mirror", "--data")  # paths that are written to
PATHS = (
    "results", "new/folder", "../beside", ".", "", "task.py", "/proc/nosuch", "/dev/null/x", "θ",
    "a b", "~nouser/x", "\x00", "\ud800", "x" * 300, "-x",
)  # fmt: skip
FLAGS = (
    "--curves",
    "--local",
    "--plan",
    "--force",
    "--committed-only",
    "--bitwise",
    "--version",
    "--help",
    "--nosuch",
)
NUMERIC = ("--seeds", "--jobs", "--dim", "--seed", "--steps", "--lr", "--threads", "--native",
           "--dims", "--repeat", "--minutes", "--target", "--threshold", "--within", "--trainings",
           "--interval-ratio", "--alpha", "--first-seed", "--rates")  # fmt: skip
BUILDS = (
    "nn.Linear(8, 4)", "None", "7", "nn.ReLU()", "nn.Linear(1, 1)", "nn.LazyLinear(3)",
    "nn.Linear(8, 4, device='meta')", "nn.Linear(8, 4 + seed)", "1 / 0", "sys.exit(1)",
    "nn.Linear(8, 4).requires_grad_(False)", "nn.Linear(8, 4).half()", "nn.Embedding(9, 9)",
    "nn.Linear(8, 4).to(torch.complex64)", "build(seed)", "nn.Linear(8, 4).parameters()",
)  # fmt: skip
SCORES = (
    "0.5", "seed", "None", "'good'", "float('nan')", "float('inf')", "-1e308", "10**400", "1j",
    "torch.tensor(0.5)", "torch.zeros(3)", "torch.tensor(0.5, requires_grad=True)", "[]", "True",
    "1 / 0", "sys.exit(0)", "net(torch.zeros(3))", "train(net, seed)", 
    "(_ for _ in ()).throw(KeyboardInterrupt)",
)  # fmt: skip
HEADERS = ("", "higher_is_better = False", "higher_is_better = 3", "def train(", "import nosuch",
           "raise SystemExit", "build = 3", "\ufeff", "# coding: nosuch", "x = '\x00'")  # fmt: skip
TASK = """{header}
import sys, torch
from torch import nn
def build(seed):
    return {build}
def train(net, seed):
    return {score}
"""
THINGS: tuple[Any, ...] = (
    None, True, 0, 1, -1, 3, 10, 10**12, 10**400, 0.5, float("nan"), float("inf"), "", "gaussian",
    "nosuch", "3", "\ud800", "\x00", b"x", [], {}, (1, 2), torch.zeros(3), torch.tensor(3),
    nn.Linear(3, 3), object(),
)  # fmt: skip
SEARCH = (
    "build",
    "train",
    "trainings",
    "fraction",
    "threshold",
    "projector",
    "jobs",
    "name",
    "out",
)


def rows(setting: Setting) -> Iterator[Row]:
    work, draw = setting.work, random.Random(setting.seed)
    tiny.shrink(work)
    nothing_trains()
    home = work / "here"
    home.mkdir()
    os.chdir(home)
    for name in ("temporary", "user"):
        (work / name).mkdir()
    os.environ |= {"HOME": str(work / "user"), "XDG_CACHE_HOME": str(work / "user" / "cache")}
    os.environ["TMPDIR"] = str(work / "temporary")
    yield command_lines(setting, draw, home)
    yield task_files(setting, draw, home)
    yield api_calls(setting, draw)
    row = Row("command lines in processes of their own")
    for _ in range(setting.times(4, 0)):
        arguments = [a for a in generate(draw) if "\x00" not in a and "\ud800" not in a]
        command = processes.Command(arguments, work / "log", real=True)
        row.count(*command.finish(120))
        if command.code not in (0, 2) or "Traceback" in command.err:
            row.report(f"{arguments}: {command.describe()}")
    if row.times:
        yield row


def nothing_trains() -> None:
    """Ends commands where training or measuring would begin: only input is tried here."""
    runner.train_all = lambda *_, **__: []
    worker.measure_all = lambda cases, *_, **__: len(cases)


def generate(draw: random.Random) -> list[str]:
    """A command line, mostly wrong."""
    command = draw.choice([n for n in OPTIONS for _ in range(1 if n in ("", "list") else 6)])
    arguments = [command] if command else []
    if command == "dimension" or draw.random() < 0.1:
        arguments.append(draw.choice((*WORDS, "task.py", ".", "os:path", "json")))
    if command == "reproduce" and draw.random() < 0.5:
        arguments.append(draw.choice(("tiny", *WORDS)))
    if command in ("watch", "export"):
        arguments.append(draw.choice(PATHS))
    for option in draw.sample(OPTIONS[command], draw.randint(0, min(4, len(OPTIONS[command])))):
        arguments.append(option)
        if option not in FLAGS or draw.random() < 0.05:
            usual = NUMBERS if option in NUMERIC else PATHS if option in WRITTEN else WORDS
            arguments.append(draw.choice(usual if draw.random() < 0.9 else (*NUMBERS, *WORDS)))
    if draw.random() < 0.1:
        draw.shuffle(arguments)
    return [*arguments, "--once"] if command == "watch" else arguments


def call(arguments: list[str]) -> tuple[int | None, str, str]:
    """Exit code (None if it hangs), what was printed, and the errors, of a command in here."""
    out, err = io.StringIO(), io.StringIO()

    def hang(number: int, frame: FrameType | None) -> None:
        raise TimeoutError

    signal.signal(signal.SIGALRM, hang)
    signal.alarm(HANG_SECONDS)
    code: int | None = 0
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            sys.argv = ["subspace-bench", *arguments]
            cli.main(arguments)
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    finally:
        signal.alarm(0)
    return (None if "TimeoutError" in err.getvalue() else code), out.getvalue(), err.getvalue()


def judge(arguments: list[str], home: Path) -> list[str]:
    """Runs a command line; what is wrong with how it ended."""
    before = paths_around(home)
    code, out, err = call(arguments)
    shown = " ".join(repr(a[:60]) for a in arguments)
    wrong = []
    if code is None:
        wrong.append(f"hangs: {shown}")
    elif code not in (0, 2):
        wrong.append(f"exit code {code}: {shown}: {err[-300:]}")
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    if code == 2 and arguments and (len(errors) != 1 or len(err.splitlines()) > 1):
        wrong.append(f"{len(err.splitlines())} lines: {shown}: {err[-300:]}")
    if "Traceback" in out + err:
        wrong.append(f"traceback: {shown}")
    asked = [
        Path(os.path.normpath(home / value))
        for option, value in itertools.pairwise(arguments)
        if option in (*WRITTEN, "export") and "\x00" not in value
    ]
    asked += [home / name for name in ("results", "dimension", "__pycache__")]
    for stray in paths_around(home) - before:
        if not any(stray.is_relative_to(path) or path.is_relative_to(stray) for path in asked):
            wrong.append(f"wrote {stray}: {shown}")
    return wrong


def paths_around(home: Path) -> set[Path]:
    """What is in a folder, in the folder around it and in the user's home; no temporary files."""
    return {path for path in home.parent.rglob("*") if "temporary" not in path.parts}


def command_lines(setting: Setting, draw: random.Random, home: Path) -> Row:
    row = Row("command lines")
    for _ in range(setting.times(1_500, 120)):
        row.count(*judge(generate(draw), home))
        for path in [*home.iterdir(), home.parent / "beside"]:
            if path.exists():
                processes.remove(path)
    return row


def task_files(setting: Setting, draw: random.Random, home: Path) -> Row:
    row = Row("task files of `dimension`")
    combinations = [
        *itertools.product(BUILDS, SCORES, HEADERS[:1]),
        *itertools.product(BUILDS[:1], SCORES[:2], HEADERS),
    ]
    for i, (build, score, header) in enumerate(draw.sample(combinations, setting.times(300, 20))):
        name = f"task_{i}.py"
        text = TASK.format(header=header, build=build, score=score)
        Path(home, name).write_text(text, encoding="utf-8")
        wrong = judge(["dimension", name, "--trainings", "2", "--out", "results"], home)
        row.count(*(f"{header!r}, {build}, {score}: {w}" for w in wrong))
        for path in home.iterdir():
            processes.remove(path)
    return row


def api_calls(setting: Setting, draw: random.Random) -> Row:
    """A wrong type may be a TypeError, a wrong value a ValueError; UserError is for both."""
    row = Row("API calls")
    net = nn.Linear(6, 4)
    targets: dict[str, tuple[Callable[..., Any], tuple[str, ...]]] = {
        "Subspace": (Subspace, ("module", "d", "projector", "seed", "scaling")),
        "make": (projectors.make, ("name", "native", "dim", "seed")),
        "TrainingConfig": (TrainingConfig, ("steps", "batch", "lr", "sampling", "betas")),
        "RunConfig": (RunConfig, ("model", "init", "protocol", "dim", "projector", "seed")),
        "intrinsic_dimension": (intrinsic_dimension, SEARCH),
    }
    good: dict[str, Any] = {
        "module": net, "d": 5, "projector": "gaussian", "seed": 0, "scaling": "none",
        "name": "gaussian", "native": 30, "dim": 5, "steps": 3, "batch": 2, "lr": 0.1,
        "sampling": "epochs", "betas": (0.9, 0.99), "model": "conv", "init": "he",
        "protocol": TrainingConfig(3, 2, 0.1), "build": lambda seed: nn.Linear(6, 4),
        "train": lambda net, seed: 0.5, "trainings": 1, "fraction": 0.9, "threshold": None,
        "jobs": 1, "out": None,
    }  # fmt: skip
    for _ in range(setting.times(800, 80)):
        name = draw.choice(list(targets))
        function, parameters = targets[name]
        arguments = {key: good[key] for key in parameters}
        for key in draw.sample(parameters, draw.randint(1, 2)):
            arguments[key] = draw.choice(THINGS)
        signal.alarm(HANG_SECONDS)
        try:
            with contextlib.redirect_stdout(io.StringIO()):
                function(**arguments)
            row.count()
        except (UserError, TypeError, ValueError):
            row.count()
        except BaseException as failure:
            changed = {k: str(v)[:30] for k, v in arguments.items() if v is not good[k]}
            row.count(f"{name}{changed}: {type(failure).__name__}: {str(failure)[:200]}")
        finally:
            signal.alarm(0)
    return row
