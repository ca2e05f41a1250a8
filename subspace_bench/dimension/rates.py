"""The learning rate of trainings in a subspace: which of some is best, and what another changes.

A search at the starting rate brackets the crossing. Then all rates train at both ends of the
bracket, with the same RATE_SEEDS seeds. One d and one seed make a block:

    score(block, rate) = block + θ_rate + ε,   ε ~ N(0, σ²)

The rest of the search has the rate of the best mean. If the best of the *other* rates scores M more
at the crossing (less, if M < 0), where the score rises by `slope` per log d, then d_int with it
would be exp(−M / slope) times as large. Flat priors on blocks, θ and log σ, and the posterior of
the slope (crossing.py), give its interval.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from subspace_bench.common import rng
from subspace_bench.common.errors import UserError
from subspace_bench.common.formatting import format_significant
from subspace_bench.dimension.crossing import Target
from subspace_bench.dimension.plan import RATE_BLOCKS
from subspace_bench.dimension.search import BRACKET, FEWEST, Search
from subspace_bench.dimension.trial import Trial

CONTENDERS = 3  # best rates whose scores give σ: hopeless ones vary more
DRAWS = 4_000


@dataclass(frozen=True)
class RateStudy:
    """What finished trainings say about the rates.

    Attributes:
        rates: those to compare.
        native: D.
        target: from the first trainings of the baseline, so that the bracket stays.
        scores: of the trainings in a subspace, in the order in which they finished; higher is
            better, NaN where a training diverged.
    """

    rates: tuple[float, ...]
    native: int
    target: Target
    scores: Mapping[Trial, float]

    @property
    def usable(self) -> list[float]:
        """The rates at which no training diverged, in ascending order.

        Raises:
            UserError: if there is none.
        """
        diverged = {trial.rate for trial, score in self.scores.items() if math.isnan(score)}
        usable = sorted(set(self.rates) - diverged)
        if not usable:
            raise UserError("train(net, seed, rate) diverged at every rate: give lower --rates")
        return usable

    @property
    def start(self) -> float:
        """The rate of the bracket: the middle one, or a lower one if that diverged."""
        middle = sorted(self.rates)[(len(self.rates) - 1) // 2]
        return max((rate for rate in self.usable if rate <= middle), default=self.usable[0])

    def dims(self) -> tuple[int, int] | None:
        """The ends of the bracket; None while it is wider than BRACKET."""
        search = Search(self.native, self.target)
        for trial, score in self.scores.items():
            if trial.rate == self.start and trial.seed >= RATE_BLOCKS:
                assert trial.dim is not None
                search.tell(trial.dim, score)
                low, high = search.bracket()
                if len(search.dims) >= FEWEST and high - low <= BRACKET:
                    return round(math.exp(low)), round(math.exp(high))
        return None

    def missing(self) -> list[Trial]:
        """Trainings that the comparison lacks; none while the bracket is too wide."""
        dims = self.dims()
        if dims is None:
            return []
        return [
            trial
            for block in range(RATE_BLOCKS)
            for rate in self.usable
            if (trial := Trial(dims[block % 2], block, rate)) not in self.scores
        ]

    def table(self) -> pd.DataFrame | None:
        """Scores by block (d, seed) and usable rate; None for one rate, and until all are there."""
        dims = self.dims() if len(self.rates) > 1 else None
        if dims is None or self.missing():
            return None
        blocks = [(dims[block % 2], block) for block in range(RATE_BLOCKS)]
        return pd.DataFrame(
            {rate: [self.scores[Trial(*block, rate)] for block in blocks] for rate in self.usable},
            index=pd.MultiIndex.from_tuples(blocks, names=["d", "seed"]),
        )

    def rate(self) -> float:
        """The rate of the search: that of the best mean, or the first until all are compared."""
        table = self.table()
        return self.start if table is None else best_of(table)


def best_of(scores: pd.DataFrame) -> float:
    """The rate of the best mean; higher is better."""
    return float(scores.columns[int(np.argmax(scores.mean()))])


@dataclass(frozen=True, eq=False)
class RateComparison:
    """How the best rate compares with the others.

    Attributes:
        rates: all that were tried, in ascending order.
        best: the rate of the best mean.
        scores: as the task returned them, by block (d, seed) and rate; rates that diverged are left
            out.
        probability: that no other of these rates is better.
        factor: d_int with the best of the other rates, relative to that with `best`: median and
            95% interval; None where it is not known: only one rate is left, d_int is not
            between 1 and D, or the slope is too uncertain.
    """

    rates: tuple[float, ...]
    best: float
    scores: pd.DataFrame
    probability: float | None
    factor: tuple[float, float, float] | None

    def __str__(self) -> str:
        tried = ", ".join(f"{rate:g}" for rate in self.rates)
        dims = " and ".join(f"{d:,}" for d in sorted(set(self.scores.index.get_level_values("d"))))
        text = f"At d = {dims}, the rate {self.best:g} is the best of {tried}"
        if self.probability is not None:
            text += f" (probability {self.probability:.0%})"
        if self.factor is not None:
            middle, low, high = map(format_significant, self.factor)
            text += (
                f"; with the best of the others, d_int would be {middle} times as large (95% "
                f"interval {low} to {high})"
            )
        if self.best == self.rates[0]:
            text += "; it is the lowest of them: try lower ones, too"
        if self.best == self.rates[-1]:
            text += "; it is the highest of them: try higher ones, too"
        return text + "."

    def to_dict(self) -> dict[str, Any]:
        """The comparison as plain data, for JSON."""
        long = self.scores.reset_index().melt(["d", "seed"], var_name="rate", value_name="score")
        return {
            "rates": list(self.rates),
            "best": self.best,
            "probability": self.probability,
            "factor": None if self.factor is None else list(self.factor),
            "trainings": long.to_dict(orient="records"),
        }


def compare(
    scores: pd.DataFrame, slope: tuple[float, float, int] | None, widest: float
) -> tuple[float | None, tuple[float, float, float] | None]:
    """`probability` and `factor` of a RateComparison.

    Arguments:
        scores: by block and rate; higher is better.
        slope: of the score per log d at the crossing: mean, standard error, degrees of freedom;
            None if it is not known.
        widest: a bound on the factor, D.
    """
    ranked = scores[scores.mean().sort_values(ascending=False, kind="stable").index].to_numpy()
    if ranked.shape[1] < 2:
        return None, None
    random = rng.generator(0, "rates")
    count, near = len(ranked), ranked[:, :CONTENDERS]
    residual = near - near.mean(0) - near.mean(1, keepdims=True) + near.mean()
    freedom = (count - 1) * (near.shape[1] - 1)
    sigma = np.sqrt((residual**2).sum() / random.chisquare(freedom, DRAWS) / count)
    theta = ranked.mean(0) + sigma[:, None] * random.standard_normal((DRAWS, ranked.shape[1]))
    gain = theta[:, 1:].max(1) - theta[:, 0]
    probability = float((gain <= 0).mean())
    if slope is None:
        return probability, None
    mean, error, slope_freedom = slope
    slopes: NDArray[np.floating] = mean + error * random.standard_t(slope_freedom, DRAWS)
    bound = math.log(widest)
    shift = np.clip(gain / np.maximum(slopes, 1e-12), -bound, bound)  # the score rises with d
    middle, low, high = (float(q) for q in np.exp(-np.quantile(shift, (0.5, 0.975, 0.025))))
    if low <= 1 / widest and high >= widest:
        return probability, None  # the slope's sign is not known
    return probability, (middle, low, high)
