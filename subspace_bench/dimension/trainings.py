"""The finished trainings of a task, kept in a csv file, so that the same command continues."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import numpy as np
import pandas as pd
from scipy import stats

from subspace_bench.common.errors import UserError
from subspace_bench.common.schema import Count, Name, Natural, Pattern, Seconds
from subspace_bench.dimension.plan import BASELINES, Plan
from subspace_bench.dimension.rates import RateComparison, RateStudy, best_of, compare
from subspace_bench.dimension.result import IntrinsicDimension
from subspace_bench.dimension.search import Estimate, Search
from subspace_bench.dimension.task import Task
from subspace_bench.dimension.trial import Outcome, Trial
from subspace_bench.records.table import KeyedTable

FALLING = -0.6  # Kendall's τ of score and d, at or below which the score gets worse with d
FEWEST_TO_JUDGE = 6  # trainings, those of the baseline included, before τ is looked at
SMALLEST = 10  # D


class TrainingRow(TypedDict):
    """The columns of the csv."""

    model: Literal["plain", "subspace"]
    d: Count
    seed: Natural
    score: float | None
    native: Count
    seconds: Seconds
    peak_bytes: Natural
    projector: Name
    scaling: Name
    code: Annotated[str, Pattern("([0-9a-f]{64})?")]
    rate: NotRequired[Annotated[str, Pattern(r"([0-9]+(\.[0-9]+)?(e[+-]?[0-9]+)?)?")]]
    target: NotRequired[str]


def require_consistent(row: dict[str, Any]) -> None:
    """Checks that d fits D, and that only trainings at a given rate diverged.

    Raises:
        ValueError: if not.
    """
    if row["d"] > row["native"] or (row["model"] == "plain" and row["d"] < row["native"]):
        raise ValueError(f"d = {row['d']} does not fit D = {row['native']}")
    if row["score"] != row["score"] and not row.get("rate"):
        raise ValueError("a score is missing")


class Trainings:
    """Finished trainings, in the order in which they finished.

    Those in a subspace belong to one target: far from its crossing they tell little, and other
    scores may vary more or less between seeds. The baseline serves every target.

    Arguments:
        folder: whose `trainings/<task>.csv` keeps them; None keeps none.

    Raises:
        UserError: if the file is damaged, or belongs to other code, projector or scaling.
    """

    def __init__(self, task: Task, plan: Plan, folder: Path | None) -> None:
        self.task, self.plan = task, plan
        self.sign = 1.0 if task.higher_is_better else -1.0
        self.outcomes: dict[Trial, Outcome] = {}
        self.code = task.code_digest()
        self.table = None
        if folder is not None:
            path = folder / "trainings" / f"{task.name}.csv"
            key = ("model", "d", "seed", "rate", "target")
            self.table = KeyedTable(path, TrainingRow, key, check=require_consistent)
            self._restore(self.table)

    def _restore(self, table: KeyedTable) -> None:
        for row in table.rows.values():
            subspace = (row["projector"], row["scaling"], row["code"])
            if subspace != (self.plan.projector, self.plan.scaling, self.code):
                raise UserError(
                    f"{table.path} has trainings of other code or another projector or scaling: "
                    "move it away, or choose another folder with --out"
                )
            rate = float(row["rate"]) if row.get("rate") else None
            if row["model"] == "subspace" and (
                rate not in (self.plan.rates or (None,))
                or row.get("target", "") not in ("", self.plan.describe_target())
            ):
                continue
            trial = Trial(None if row["model"] == "plain" else row["d"], row["seed"], rate)
            self.outcomes[trial] = Outcome(
                float(row["score"]), row["native"], float(row["seconds"]), row["peak_bytes"]
            )

    def add(self, trial: Trial, outcome: Outcome) -> None:
        """Keeps a training.

        Raises:
            UserError: if `build` made another number of parameters than before, or fewer than
                SMALLEST, or if scores get worse as d grows.
        """
        if outcome.native < SMALLEST:
            raise UserError(
                f"the module has {outcome.native} parameters: a search needs {SMALLEST}"
            )
        for other, earlier in self.outcomes.items():
            if earlier.native != outcome.native:
                raise UserError(
                    f"build(seed) made {earlier.native:,} parameters at seed {other.seed}, but "
                    f"{outcome.native:,} at seed {trial.seed}: it must build one architecture"
                )
        self.outcomes[trial] = outcome
        if self.table is not None:
            optional = {} if trial.rate is None else {"rate": str(trial.rate)}
            if trial.dim is not None:
                optional["target"] = self.plan.describe_target()
            self.table.put(
                {
                    "model": "plain" if trial.dim is None else "subspace",
                    "d": trial.dim or outcome.native,
                    "seed": trial.seed,
                    "score": outcome.score,
                    "native": outcome.native,
                    "seconds": round(outcome.seconds, 3),
                    "peak_bytes": outcome.peak_bytes,
                    "projector": self.plan.projector,
                    "scaling": self.plan.scaling,
                    "code": self.code,
                    **optional,
                }
            )
        self._require_rising()

    @property
    def native(self) -> int:
        """D."""
        return next(iter(self.outcomes.values())).native

    @property
    def baseline(self) -> list[float]:
        """Scores of the plain module, as the task returned them."""
        return [o.score for t, o in self.outcomes.items() if t.dim is None]

    def rate_study(self) -> RateStudy:
        """What is known of the plan's rates; needs a baseline."""
        first = self.baseline[:BASELINES]
        scores = {t: self.sign * o.score for t, o in self.outcomes.items() if t.dim is not None}
        target = self.plan.target(first, self.task.higher_is_better)
        return RateStudy(self.plan.rates, self.native, target, scores)

    @property
    def rate(self) -> float | None:
        """The rate of the search; None if `train` has its own."""
        return self.rate_study().rate() if self.plan.rates else None

    def searched(self) -> dict[Trial, Outcome]:
        """The trainings in a subspace at the rate of the search."""
        rate = self.rate
        return {t: o for t, o in self.outcomes.items() if t.dim is not None and t.rate == rate}

    def search(self) -> Search:
        """The search with everything told that is finished; needs a baseline."""
        target = self.plan.target(self.baseline, self.task.higher_is_better)
        search = Search(self.native, target)
        for trial, outcome in self.searched().items():
            if trial.dim is not None:
                search.tell(trial.dim, self.sign * outcome.score)
        return search

    def estimate(self) -> Estimate | None:
        """d_int so far; None while too little is known."""
        complete = len(self.baseline) >= BASELINES
        return self.search().estimate() if complete else None

    def result(self) -> IntrinsicDimension:
        """The result so far.

        Raises:
            UserError: if there are too few trainings to estimate anything.
        """
        estimate = self.estimate()
        if estimate is None:
            raise UserError(
                f"{len(self.outcomes)} trainings are too few for an estimate: give more minutes; "
                "with the same folder, finished trainings count"
            )
        target = self.sign * self.search().target.score
        rows = [
            {"d": t.dim, "seed": t.seed, "score": o.score, "seconds": o.seconds}
            for t, o in self.searched().items()
        ]
        rates = self.compare_rates(estimate)
        return IntrinsicDimension(
            self.task.name, self.native, self.plan.projector, target,
            self.plan.describe_target(self.task.higher_is_better), self.task.higher_is_better,
            tuple(self.baseline),
            pd.DataFrame(rows), estimate, self._notices(estimate, rates), self.rate, rates,
        )  # fmt: skip

    def compare_rates(self, estimate: Estimate) -> RateComparison | None:
        """How the rates compare; None without rates, or before all have been compared."""
        table = self.rate_study().table() if self.plan.rates else None
        if table is None:
            return None
        inside = estimate.dimension is not None and estimate.dimension > 1
        slope = self.search().slope(estimate.dimension or 1) if inside else None
        probability, factor = compare(table, slope, self.native)
        rates = tuple(sorted(self.plan.rates))
        return RateComparison(rates, best_of(table), self.sign * table, probability, factor)

    def _notices(self, estimate: Estimate, rates: RateComparison | None) -> tuple[str, ...]:
        notices = []
        if rates is not None:
            notices.append(str(rates))
        elif self.plan.comparison:
            notices.append(f"The rates were not compared: these trainings have {self.rate:g}.")
        if len(set(self.baseline)) == 1:
            notices.append(
                "All trainings of the baseline gave the same score. If train ignores its seed, the "
                "interval is too narrow."
            )
        if estimate.dimension is None:
            notices.append(
                f"No d up to D = {self.native:,} is likely to reach the target: d_int is at least "
                f"{estimate.low:,} (97.5%)."
            )
            if self.sign * float(np.mean(self.baseline)) > self.search().target.score:
                more = "other" if self.plan.rates else "some"
                notices.append(
                    "The baseline reaches it, so subspaces need another learning rate, usually a "
                    f"higher one, or longer trainings: let train take rate=…, and give {more} "
                    "--rates."
                )
        elif estimate.dimension == 1:
            notices.append(
                "d = 1 already reaches the target: it asks for little, or the module overfits. "
                "Give a better score with --threshold."
            )
        return tuple(notices)

    def _require_rising(self) -> None:
        if len(self.baseline) < BASELINES:
            return
        points = [(self.native, self.sign * score) for score in self.baseline]
        points += [(t.dim or 0, self.sign * o.score) for t, o in self.searched().items()]
        if len(points) < FEWEST_TO_JUDGE:
            return
        if stats.kendalltau(*zip(*points, strict=True)).statistic <= FALLING:
            better = "False" if self.task.higher_is_better else "True"
            raise UserError(
                f"the score gets worse as d grows: set higher_is_better = {better} if it is "
                "otherwise a good measure; finished trainings are kept"
            )
