"""The search for the intrinsic dimension: ask for the next d, and tell its score.

It first halves a bracket in log d, then tries d's at quantiles of the crossing's posterior
(crossing.py), where a training tells most about it. While the interval has no upper end, every
second d is twice the estimate. While the baseline is less certain than the score at the crossing,
it asks for another training of the baseline instead.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from subspace_bench.dimension.crossing import CrossingModel, Target

FEWEST = 4  # trainings before the model is fitted
BRACKET = 1.0  # bisect until the bracket is narrower than this in log d, a factor of 2.7
SPLITS = (1 / 2, 1 / 4, 3 / 4, 1 / 8, 5 / 8, 3 / 8, 7 / 8)  # of the bracket, for parallel trainings
LEFT, RIGHT = 0.25, 0.75  # either side of the crossing, so that the slope is known as well
OUTWARD = math.log(2)  # the step to the right where the interval has no upper end
INTERVAL_LEVELS = (0.025, 0.975)


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
    def interval_ratio(self) -> float:
        """high / low; infinite without an upper bound."""
        return math.inf if self.high is None else self.high / self.low

    def format_interval(self, joint: str) -> str:
        """The interval as text; D stands for an upper bound that is not known."""
        return f"{self.low:,} {joint} {'D' if self.high is None else f'{self.high:,}'}"


@dataclass
class Search:
    """Ask and tell over d = 1 … D.

    Attributes:
        native: D.
        target: the score to reach; replace it when the baseline has been trained again.
        dims, scores: the trainings told so far.
    """

    native: int
    target: Target
    dims: list[int] = field(default_factory=list)
    scores: list[float] = field(default_factory=list)

    def ask(self, running: int = 0) -> int | None:
        """The next d to train, while `running` others are being trained; None for the baseline."""
        low, high = self.bracket()
        if len(self.dims) < FEWEST or high - low > BRACKET:
            return self._dimension(low + (high - low) * SPLITS[running % len(SPLITS)])
        model = self._model()
        levels = [LEFT, 0.5, RIGHT, INTERVAL_LEVELS[1]]
        left, middle, right, high = model.quantiles(levels, self._upper, self.target)
        if self.target.error > model.predict(np.array([min(max(middle, 0.0), self._upper)]))[1]:
            return None
        if (len(self.dims) + running) % 2 == 0:
            return self._dimension(left)
        # Where all d's lie in one cluster, their slope is not known, nor where the interval ends.
        return self._dimension(middle + OUTWARD if high == math.inf else right)

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
        levels = [INTERVAL_LEVELS[0], 0.5, INTERVAL_LEVELS[1]]
        low, middle, high = self._model().quantiles(levels, self._upper, self.target)
        return Estimate(
            self._first_reaching(middle),
            self._first_reaching(low) or self.native,
            self._first_reaching(high),
        )

    def slope(self, dim: int) -> tuple[float, float, int]:
        """The score's slope in log d at d = `dim`: mean, standard error, degrees of freedom."""
        return self._model().slope(math.log(dim))

    @property
    def _upper(self) -> float:
        return math.log(self.native)

    def _model(self) -> CrossingModel:
        return CrossingModel([math.log(dim) for dim in self.dims], self.scores)

    def _dimension(self, step: float) -> int:
        return round(math.exp(min(max(step, 0.0), self._upper)))

    def _first_reaching(self, crossing: float) -> int | None:
        """The smallest whole d right of a crossing in log d; None if it lies beyond D."""
        return None if crossing == math.inf else math.ceil(math.exp(max(crossing, 0.0)))
