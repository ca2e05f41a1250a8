"""The search for the intrinsic dimension: ask for the next d, and tell its score.

It first halves a bracket in log d, then tries d's at quantiles of the crossing's posterior
(crossing.py), where a training tells most about it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

from subspace_bench.dimension.crossing import CrossingModel

FEWEST = 4  # trainings before the model is fitted
BRACKET = 1.0  # bisect until the bracket is narrower than this in log d, a factor of 2.7
SPLITS = (1 / 2, 1 / 4, 3 / 4, 1 / 8, 5 / 8, 3 / 8, 7 / 8)  # of the bracket, for parallel trainings
ASK_LEVELS = (0.25, 0.75)  # either side of the crossing, so that the slope is known as well
INTERVAL_LEVELS = (0.025, 0.975)


@dataclass(frozen=True)
class Target:
    """The score that d_int must reach.

    Attributes:
        score: higher is better.
        error: its standard error, if it comes from the baseline; else 0.
    """

    score: float
    error: float = 0.0


@dataclass(frozen=True)
class Estimate:
    """The smallest d that reaches the target.

    Attributes:
        dimension: the median of its posterior; None if no d ≤ D is likely to reach the target.
        low, high: 95% interval; `high` is None if it has no upper bound in 1 … D.
    """

    dimension: int | None
    low: int
    high: int | None

    @property
    def width(self) -> float:
        """high / low; infinite without an upper bound."""
        return math.inf if self.high is None else self.high / self.low


@dataclass
class Search:
    """Ask and tell over d = 1 … D.

    Attributes:
        native: D.
        dims, scores: the trainings told so far.
    """

    native: int
    target: Target
    dims: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    def ask(self, running: int = 0) -> int:
        """The next d to train, while `running` others are being trained."""
        low, high = self.bracket()
        if len(self.dims) < FEWEST or high - low > BRACKET:
            return self._dimension(low + (high - low) * SPLITS[running % len(SPLITS)])
        level = ASK_LEVELS[(len(self.dims) + running) % len(ASK_LEVELS)]
        return self._dimension(self._quantiles([level])[0])

    def tell(self, dim: int, score: float) -> None:
        """Adds the score of a training at d = `dim`."""
        self.dims.append(dim)
        self.scores.append(score)

    def bracket(self) -> tuple[float, float]:
        """log d between the largest d that missed the target and the smallest above that met it."""
        low, high = 0.0, math.log(self.native)
        for dim, score in sorted(zip(self.dims, self.scores, strict=True)):
            if score >= self.target.score:
                return low, min(high, math.log(dim))
            low = math.log(dim)
        return low, high

    def estimate(self) -> Estimate | None:
        """The crossing so far; None while there are too few trainings."""
        if len(self.dims) < FEWEST or len(set(self.dims)) < 2:
            return None
        low, middle, high = self._quantiles([INTERVAL_LEVELS[0], 0.5, INTERVAL_LEVELS[1]])
        return Estimate(
            None if math.isinf(middle) and middle > 0 else self._dimension(middle),
            self._dimension(low),
            None if math.isinf(high) and high > 0 else self._dimension(high),
        )

    def _quantiles(self, levels: Sequence[float]) -> list[float]:
        model = CrossingModel([math.log(dim) for dim in self.dims], self.scores)
        upper = math.log(self.native)
        return model.quantiles(levels, upper, self.target.score, self.target.error)

    def _dimension(self, step: float) -> int:
        return round(math.exp(min(max(step, 0.0), math.log(self.native))))
