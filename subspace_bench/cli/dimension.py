"""`subspace-bench dimension`: tasks → searches → page."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from subspace_bench.cli.options import path_option, report_interruption, this_command
from subspace_bench.cli.tensorboard import Scalars, Tensorboard
from subspace_bench.common import validation
from subspace_bench.common.errors import UserError
from subspace_bench.common.files import write_atomically
from subspace_bench.common.formatting import (
    format_bytes,
    format_duration,
    make_console,
    print_table,
)

if TYPE_CHECKING:
    from subspace_bench.dimension.plan import Plan
    from subspace_bench.dimension.trainings import Trainings
    from subspace_bench.dimension.trial import Outcome, Trial


def dimension(
    tasks: Annotated[
        list[str],
        typer.Argument(
            help="Python files, or package.module:name, with build(seed) and train(net, seed)."
        ),
    ],
    target: Annotated[
        float, typer.Option(help="Score to reach, as a fraction of the baseline's mean.")
    ] = 0.9,
    threshold: Annotated[
        float | None, typer.Option(help="Score to reach, instead of --target.")
    ] = None,
    within: Annotated[
        float | None,
        typer.Option(
            help="Instead of --target: reach a score at most this far from the baseline's mean."
        ),
    ] = None,
    trainings: Annotated[
        int, typer.Option(help="Number of trainings, besides the first 3 of the baseline.")
    ] = 20,
    minutes: Annotated[
        float | None, typer.Option(help="Stop after this time; the same command continues.")
    ] = None,
    interval_ratio: Annotated[
        float | None,
        typer.Option(help="Stop when the interval's ends differ by at most this factor."),
    ] = None,
    projector: Annotated[str | None, typer.Option(help="Projector P. Default: hashed.")] = None,
    scaling: Annotated[
        str, typer.Option(help="How P's rows are scaled: fan-in, or none (columns of norm 1).")
    ] = "fan-in",
    rates: Annotated[
        str | None,
        typer.Option(
            help="Learning rate of subspaces, or several to compare; train must take rate=…."
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(help="Trainings at a time.")] = 1,
    out: Annotated[Path, path_option("Folder for trainings and the page.")] = Path("dimension"),
    tensorboard: Tensorboard = None,
) -> int:
    """Measure how many parameters a model needs; write dimension.md.

    Trains the model as it is, then in random subspaces of d dimensions, and searches the smallest d
    that reaches the target. Finished trainings are kept in --out; the same command continues.
    """
    validation.check_output_dir(out)
    from subspace_bench.dimension.measure import measure
    from subspace_bench.dimension.page import page
    from subspace_bench.dimension.plan import PROJECTOR, Plan
    from subspace_bench.dimension.task import load
    from subspace_bench.reporting.render import write_page

    plan = Plan(
        target, threshold, within, trainings, minutes, interval_ratio, projector or PROJECTOR, jobs,
        scaling, parse_rates(rates),
    )  # fmt: skip
    loaded = [load(reference) for reference in tasks]
    validation.require_distinct("task", [task.name for task in loaded])
    results, scalars = [], Scalars(tensorboard)
    try:
        for task in loaded:
            show = ProgressLines(plan, scalars)
            results.append(measure(task, plan, out, show))
    except KeyboardInterrupt:
        return report_interruption(f"finished trainings are kept in {out}")
    written = page(results, this_command())
    content = [result.to_dict() for result in results]
    write_atomically(out / "dimension.json", json.dumps(content, indent=1) + "\n")
    paths = [*write_page(written, out), out / "dimension.json"]
    for line in [*map(str, results), *written.notices]:
        print(line)
    if len(results) > 1:
        print_table(make_console(), written.title, written.tables["dimensions"])
    for path in paths:
        print(path)
    return 0


def parse_rates(text: str | None) -> tuple[float, ...]:
    """The numbers of --rates.

    Raises:
        UserError: if one is no number.
    """
    try:
        return tuple(map(float, text.split(","))) if text is not None else ()
    except ValueError as failure:
        raise UserError(f"--rates is {text!r}: give numbers, such as 0.05,0.1,0.2") from failure


class ProgressLines:
    """Prints a line a training: its score, and what is known of d_int; writes it as scalars."""

    def __init__(self, plan: Plan, scalars: Scalars) -> None:
        self.plan, self.scalars, self.announced = plan, scalars, False
        self.rate: float | None = None

    def __call__(self, trial: Trial, outcome: Outcome, trainings: Trainings) -> None:
        from subspace_bench.dimension.plan import BASELINES

        self.scalars.on_outcome(trial, outcome, trainings)
        count, total = len(trainings.outcomes), self.plan.trainings + BASELINES
        if not self.announced:
            self.announced = True
            seconds = outcome.seconds * (total - count) / self.plan.jobs
            compared = self.plan.comparison
            rates = f" {compared} of them compare {len(self.plan.rates)} rates." if compared else ""
            print(
                f"D = {outcome.native:,}. One training took {outcome.seconds:.3g} s and "
                f"{format_bytes(outcome.peak_bytes)}; {total - count} more take about "
                f"{format_duration(seconds)}.{rates}",
                file=sys.stderr,
            )
        estimate, known = trainings.estimate(), ""
        if estimate is not None:
            known = f"; d_int between {estimate.format_interval('and')}"
        print(f"{count}/{total} {trial.label}: {outcome.score:.4g}{known}", file=sys.stderr)
        rate = trainings.rate if trainings.baseline else None
        if self.rate is not None and rate != self.rate:
            print(f"rate {rate:g} is the best: only its trainings count from here", file=sys.stderr)
        self.rate = rate
