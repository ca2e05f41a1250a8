"""How to search for an intrinsic dimension: the target, the budget, the subspace."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from subspace_bench.common import validation
from subspace_bench.common.errors import UserError
from subspace_bench.dimension.crossing import Target
from subspace_bench.dimension.search import FEWEST
from subspace_bench.projectors import names
from subspace_bench.subspace.scaling import SCALINGS

BASELINES = 3  # first trainings of the plain module
RATE_SEEDS = 2  # of each rate at each of two d's; these seeds are used for nothing else
RATE_BLOCKS = 2 * RATE_SEEDS
FEWEST_BESIDES = 6  # trainings, most of which find the two d's
PROJECTOR = "hashed"


@dataclass(frozen=True)
class Plan:
    """How to search.

    Attributes:
        fraction: the target as a fraction of the baseline's mean (Li et al. 2018: 0.9, "local").
        threshold: the target as a score instead (Li et al. 2018: 90%, "global").
        within: the target as the baseline's mean less this many points instead.
        trainings: after the first BASELINES of the plain module.
        minutes: stop after this time.
        interval_ratio: stop when the ends of the interval differ by at most this factor.
        projector: name of P.
        scaling: of P's rows, see `Subspace`; Li et al. 2018 have "none".
        jobs: trainings at a time.
        rates: learning rates of `train(net, seed, rate)` to compare in subspaces; the search has
            the best of them. The comparison is a part of `trainings`. One rate is not compared.

    Raises:
        UserError: for a number out of range, or two kinds of target.
    """

    fraction: float = 0.9
    threshold: float | None = None
    within: float | None = None
    trainings: int = 20
    minutes: float | None = None
    interval_ratio: float | None = None
    projector: str = PROJECTOR
    jobs: int = 1
    scaling: str = "fan-in"
    rates: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.threshold is not None and self.within is not None:
            raise UserError("--threshold and --within are two targets: give one of them")
        validation.require_numbers(threshold=self.threshold)
        if self.threshold is not None and not math.isfinite(self.threshold):
            raise UserError(f"--threshold is {self.threshold}: it must be finite")
        validation.require_fraction(target=self.fraction)
        validation.require_positive(within=self.within, minutes=self.minutes)
        validation.require_at_least(FEWEST + 1, trainings=self.trainings)
        validation.require_at_least(1, jobs=self.jobs, interval_ratio=self.interval_ratio)
        self._require_rates()
        validation.require_choice("projector", [self.projector], names())
        validation.require_choice("scaling", [self.scaling], SCALINGS)

    def _require_rates(self) -> None:
        for rate in self.rates:
            validation.require_positive(rates=rate)
        if len(set(self.rates)) < len(self.rates):
            raise UserError("--rates has a rate twice")
        if self.comparison and self.trainings < self.comparison + FEWEST_BESIDES:
            raise UserError(
                f"comparing {len(self.rates)} rates takes {self.comparison} trainings, and "
                f"--trainings must be {self.comparison + FEWEST_BESIDES} or more"
            )

    @property
    def comparison(self) -> int:
        """Trainings that compare the rates; 0 for one rate."""
        return RATE_BLOCKS * len(self.rates) if len(self.rates) > 1 else 0

    def target(self, baseline: Sequence[float], higher_is_better: bool = True) -> Target:
        """The target, with the sign of a loss turned, so that higher is better.

        Arguments:
            baseline: scores of the plain module, as the task returned them.
        """
        sign = 1.0 if higher_is_better else -1.0
        if self.threshold is not None:
            return Target(sign * self.threshold)
        mean, count = sign * float(np.mean(baseline)), len(baseline)
        error = float(np.std(baseline, ddof=1)) / math.sqrt(count) if count > 1 else 0.0
        freedom = max(count - 1, 1)
        if self.within is not None:
            return Target(mean - self.within, error, freedom)
        share = self.fraction if mean >= 0 else 1 / self.fraction  # a loss of 0.9 may grow to 1.0
        return Target(share * mean, share * error, freedom)

    def describe_target(self, higher_is_better: bool = True) -> str:
        """The target in words."""
        if self.threshold is not None:
            return f"a score of {self.threshold:g}"
        if self.within is not None:
            return f"{self.within:g} from the baseline"
        if higher_is_better:
            return f"{100 * self.fraction:g}% of the baseline"
        return f"the baseline's loss / {self.fraction:g}"
