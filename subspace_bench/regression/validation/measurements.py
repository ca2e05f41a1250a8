"""The effects of mutations, measured on stored trials, and the check of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from subspace_bench.regression import check as checking
from subspace_bench.regression.sequential import CHANGED, NO_CHANGE
from subspace_bench.regression.validation import trials
from subspace_bench.regression.validation.mutations import MUTATIONS
from subspace_bench.regression.validation.resampling import Pool, References
from subspace_bench.regression.validation.trials import EFFECT, UNCHANGED
from subspace_bench.reporting.statistics import Sample, difference


@dataclass(frozen=True)
class Measurement:
    """The effect of a mutation and its check.

    Attributes:
        effects: by measured run, the change of the mean accuracy in points and the half-width of
            its 95% interval; None if a training failed or diverged.
        sizes: by measured run, |change| over the minimum detectable effect of its sign, and its
            lower bound by that interval; infinite if there is no change to measure.
    """

    name: str
    effects: Mapping[str, tuple[float, float] | None]
    sizes: Mapping[str, tuple[float, float]]
    outcomes: Sequence[checking.Outcome]

    @property
    def run(self) -> str:
        """The run on which the effect is largest."""
        return max(self.sizes, key=lambda run: self.sizes[run])

    @property
    def size(self) -> float:
        return self.sizes[self.run][0]

    @property
    def fails_runs(self) -> bool:
        """Whether runs failed or diverged, so that the mutation has no measured effect."""
        return any(effect is None for effect in self.effects.values())

    @property
    def detectable(self) -> bool:
        """Whether the effect exceeds the minimum detectable effect."""
        return not self.fails_runs and self.size > 1

    @property
    def surely_detectable(self) -> bool:
        """Whether also the lower bound of the effect exceeds the minimum detectable effect."""
        return self.detectable and max(lower for _, lower in self.sizes.values()) > 1

    @property
    def detected(self) -> bool:
        """Whether the check failed: "changed", or "not judged" because runs failed."""
        verdicts = {outcome.verdict for outcome in self.outcomes}
        return CHANGED in verdicts or (self.fails_runs and verdicts != {NO_CHANGE})


def measure(
    name: str, accuracies: Mapping[trials.Trial, float | str], references: References, pool: Pool
) -> Measurement:
    """The effect of one mutation and its check."""
    effects: dict[str, tuple[float, float] | None] = {}
    sizes = {}
    for run in MUTATIONS[name].measured:
        values = [
            value
            for (mutation, of, seed), value in accuracies.items()
            if (mutation, of) == (name, run) and seed >= trials.first_seed(name) + EFFECT
        ]
        effects[run] = effect = effect_of(values, pool[run])
        size, half_width = (abs(effect[0]), effect[1]) if effect else (np.inf, 0.0)
        unit = trials.minimum_detectable_effect(references, run, effect[0] if effect else 0.0)
        sizes[run] = size / unit, (size - half_width) / unit
    return Measurement(name, effects, sizes, trials.check_mutation(name, references, accuracies))


def effect_of(values: Sequence[float | str], unchanged: np.ndarray) -> tuple[float, float] | None:
    """Change of the mean and half-width of its 95% interval; None if a training failed."""
    numbers = tuple(v for v in values if isinstance(v, float))
    interval = difference(Sample(numbers), Sample(tuple(unchanged.tolist())))
    if interval is None or len(numbers) < len(values):
        return None
    return (interval.low + interval.high) / 2, interval.half_width


def pool_of(references: References, accuracies: Mapping[trials.Trial, float | str]) -> Pool:
    """Unchanged runs on seeds beyond the reference's, equally many of each."""
    beyond = {
        name: [
            float(value)
            for (mutation, run, seed), value in sorted(accuracies.items())
            if (mutation, run) == (UNCHANGED, name) and seed >= len(reference.values)
        ]
        for name, reference in references.items()
    }
    size = min(map(len, beyond.values()))
    return {name: np.array(values[:size]) for name, values in beyond.items()}
