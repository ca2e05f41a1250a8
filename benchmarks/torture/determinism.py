"""The same run has the same bits, whatever else differs."""

from __future__ import annotations

import math
import os
import random
import tempfile
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from benchmarks.torture import processes, subjects, tiny
from benchmarks.torture.campaigns import Row, Setting
from subspace_bench.datasets.embedded import embedded_digits
from subspace_bench.records.config import RunConfig
from subspace_bench.reporting.statistics import Sample, t_quantile
from subspace_bench.training.loop import Interrupted, train

VARIABLES = {
    "PYTHONHASHSEED": ("0", "1", "random"),
    "FORCE_COLOR": ("1",),
    "TERM": ("dumb",),
    "LC_ALL": ("C", "tr_TR.UTF-8"),
    "TZ": ("Asia/Kathmandu",),
    "PYTHONOPTIMIZE": ("2",),
}

NONE: Mapping[str, str] = {}
SHORT = ("--dataset", "mnist-5k", "--device", "cpu", "--steps", "300")
NETS = (("--model", "conv", *SHORT), ("--model", "mlp-16", "--dim", "300", *SHORT))
PROCESSORS: dict[str, tuple[tuple[str, ...], dict[str, str]]] = {  # options, variables
    "two threads": (("--threads", "2"), {}),
    "AVX2": ((), {"ATEN_CPU_CAPABILITY": "avx2", "NUMBA_CPU_NAME": "haswell",
                  "NUMBA_CPU_FEATURES": ""}),
    "SSE": ((), {"ATEN_CPU_CAPABILITY": "default", "NUMBA_CPU_NAME": "nehalem",
                 "NUMBA_CPU_FEATURES": "", "MKL_ENABLE_INSTRUCTIONS": "SSE4_2"}),
}  # fmt: skip


def rows(setting: Setting) -> Iterator[Row]:
    work, draw = setting.work, random.Random(setting.seed)
    tiny.shrink(work)
    os.environ["TMPDIR"] = str(work)
    dataset = embedded_digits()
    kinds = [replace(run, seed=seed) for run in tiny.runs() for seed in range(2)]
    expected = {run: train(run, dataset).result for run in kinds}

    row = Row("repeats in one process, in another order each time")
    for _ in range(setting.times(20, 1)):
        for run in draw.sample(kinds, len(kinds)):
            same = train(run, dataset).result == expected[run]
            row.count(*([] if same else [f"{run.label}: other bits"]))
    yield row

    row = Row("resumed after a random update, several times")
    for run in kinds:
        for _ in range(setting.times(10, 1)):
            same = resumed(run, draw, work / "run.checkpoint") == expected[run]
            row.count(*([] if same else [f"{run.label}: other bits"]))
    yield row

    processes.start_server()
    row = Row("`reproduce --jobs` 1, 2 and 4, with and without a terminal")
    for jobs in ("1", "2", "4"):
        for terminal in (False, True):
            out = work / f"out-{jobs}-{terminal}"
            arguments = ["reproduce", "--jobs", jobs, "--device", "cpu", "--out", str(out)]
            set_up: Callable[[], object] = (lambda: None) if not terminal else open_terminal
            command = processes.run(arguments, work / "log", set_up=set_up)
            found = subjects.records(out)
            wrong = [] if command.code == 0 else [command.describe()]
            wrong += [
                f"{run.label}: other bits"
                for run in kinds
                if run.seed == 0 and found.get(run.name) != expected[run]
            ]
            row.count(*wrong)
    yield row

    row = Row(f"`python -m subspace_bench train` under other {', '.join(VARIABLES)}")
    net = ("--model", "mlp-16", "--dataset", "mnist-5k", "--device", "cpu", "--steps", "9")
    arguments = ["train", *net]
    results: list[Any] = []
    for name, values in VARIABLES.items() if not setting.short else ():
        for value in values:
            out = work / f"{name}-{value}"
            command = processes.run(
                [*arguments, "--out", str(out)], work / "log", real=True, variables={name: value}
            )
            results.append(list(subjects.records(out).values()))
            same = command.code == 0 and results[-1] == results[0]
            row.count(*([] if same else [f"{name}={value}: {command.describe()}"]))
    if row.times:
        yield row
        yield processors(setting)


def processors(setting: Setting) -> Row:
    """Accuracies with another number of threads, or with the instructions of another processor.

    Their sums are rounded in another order, so a training ends as with another seed of its batches.
    Wrong if the mean over seeds differs at p < 0.0005 by a paired t test.
    """
    row = Row(f"`train` with {' or '.join(PROCESSORS)}: the mean accuracy stays")
    other_bits, single, mean, spread = 0, 0.0, 0.0, 0.0
    for net in NETS:
        seeds = [[*net, "--seed", str(seed)] for seed in range(10)]
        usual = [trained(row, setting, arguments) for arguments in seeds]
        spread = max(spread, Sample(tuple(float(r["accuracy_end"]) for r in usual)).sd)
        for name, (options, variables) in PROCESSORS.items():
            changed = [trained(row, setting, [*seed, *options], variables) for seed in seeds]
            pairs = list(zip(usual, changed, strict=True))
            shifts = Sample(tuple(b["accuracy_end"] - a["accuracy_end"] for a, b in pairs))
            allowed = t_quantile(shifts.n - 1, 100) * shifts.sd / math.sqrt(shifts.n)
            row.times += len(pairs)
            fine = abs(shifts.mean) <= allowed  # not if a training failed: NaN
            row.report(*([] if fine else [f"{net}, {name}: {shifts.mean:+.2f} points"]))
            other_bits += sum(a["sha256"] != b["sha256"] for a, b in pairs)
            single, mean = max(single, *map(abs, shifts.values)), max(mean, abs(shifts.mean))
    row.measured = (
        f"{other_bits} have other bits; one training changes by up to {single:.2f} points, the "
        f"mean of {len(seeds)} by up to {mean:.2f}; standard deviation over seeds {spread:.2f}"
    )
    return row


def trained(
    row: Row, setting: Setting, arguments: list[str], variables: Mapping[str, str] = NONE
) -> dict[str, Any]:
    """The result of `train`, in a process of its own."""
    out = Path(tempfile.mkdtemp(dir=setting.work))
    command = processes.run(
        ["train", *arguments, "--out", str(out)], setting.work / "log",
        real=True, variables=variables,
    )  # fmt: skip
    row.report(*([command.describe()] if command.code else []))
    for result in subjects.records(out).values():
        return dict(result)
    return {"accuracy_end": math.nan, "sha256": ""}


def resumed(run: RunConfig, draw: random.Random, checkpoint: Path) -> object:
    """The result of a run that is interrupted up to three times."""
    dataset = embedded_digits()
    for _ in range(3):
        stop, asked = draw.randint(1, run.protocol.steps // 2), count(1)
        try:
            train(run, dataset, checkpoint, should_stop=lambda n=stop, c=asked: next(c) == n)  # type: ignore[misc]
        except Interrupted:
            continue
        break
    result = train(run, dataset, checkpoint).result
    checkpoint.unlink(missing_ok=True)
    return result


def open_terminal() -> None:
    """Connects a forked command to a terminal that nobody reads."""
    import pty
    import sys
    import threading

    reader, terminal = pty.openpty()
    threading.Thread(target=lambda: [None for _ in iter(lambda: os.read(reader, 1 << 16), b"")],
                     daemon=True).start()  # fmt: skip
    for descriptor in (0, 1, 2):
        os.dup2(terminal, descriptor)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115
