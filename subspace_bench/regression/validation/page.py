"""results/regression.md: the stated error rates of a check, and those measured."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from subspace_bench.common.formatting import format_duration
from subspace_bench.datasets.loading import load_or_embedded
from subspace_bench.regression import check as checking
from subspace_bench.regression import suite
from subspace_bench.regression.reference import Reference, load
from subspace_bench.regression.sequential import CHANGED, FUTILITY_P, NO_CHANGE, STAGES, Design
from subspace_bench.regression.validation import resampling, trials
from subspace_bench.regression.validation.mutations import MEASURED, MUTATIONS
from subspace_bench.regression.validation.resampling import Pool, References
from subspace_bench.regression.validation.trials import (
    ALPHA,
    EFFECT,
    UNCHANGED,
    minimum_detectable_effect,
)
from subspace_bench.reporting.page import Page, PageFigure
from subspace_bench.reporting.statistics import Sample, binomial, difference

TARGETS = {"conv": 0.5, "conv, d = 1,000": 1.0}  # points, for runs whose names start so
DESIGNS = ((40, 8), (40, 16), (100, 8), (100, 16), (100, 24), (400, 16), (400, 24))
CAPTION = (
    "Mutations by effect, detected or missed (heights jittered), and the power stated for a "
    "constant shift of normal accuracies. Dotted: minimum detectable effect."
)


@dataclass(frozen=True)
class Measurement:
    """The effect of a mutation, and the check of it.

    Attributes:
        effects: by measured run, the change of the mean accuracy in points and the half-width of
            its 95% interval; None if a training failed or diverged.
        sizes: by measured run, |change| over the minimum detectable effect, and its lower bound by
            that interval; infinite if there is no change to measure.
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
        """Whether trainings failed or diverged, which is no change of accuracy."""
        return any(effect is None for effect in self.effects.values())

    @property
    def detectable(self) -> bool:
        """Whether the effect exceeds the minimum detectable effect."""
        return not self.fails_runs and self.size > 1

    @property
    def surely_detectable(self) -> bool:
        """Whether the lower bound of the effect exceeds it, too."""
        return self.detectable and max(lower for _, lower in self.sizes.values()) > 1

    @property
    def detected(self) -> bool:
        """Whether the check failed: "changed", or "not judged" because runs failed."""
        verdicts = {outcome.verdict for outcome in self.outcomes}
        return CHANGED in verdicts or (self.fails_runs and verdicts != {NO_CHANGE})


def build() -> Page:
    """The page, from the stored trials; takes five minutes.

    Raises:
        MissingTrials: if a mutation is not completely trained.
    """
    references = load(trials.REFERENCE, suite.REMEDY)
    suite.check_identity(references, load_or_embedded())
    accuracies, rng = trials.accuracies(), np.random.default_rng(0)
    pool = pool_of(references, accuracies)
    measured = [measure(name, accuracies, references, pool) for name in MUTATIONS]
    fixed = resampling.false_positives(pool, rng, references)
    count = min(len(reference.values) for reference in references.values())
    everything = {n: np.array([*references[n].values[:count], *pool[n]]) for n in pool}
    drawn = resampling.false_positives(everything, rng, count=count)
    power = resampling.power(references, pool, rng)

    detectable = [m for m in measured if m.detectable]
    small = [m for m in measured if not m.detectable and not m.fails_runs]
    failing = [m for m in measured if m.fails_runs]
    critical = {f"{_design(references, n).critical_p:.2g}" for n in references}
    return Page(
        name="regression",
        title="Error rates of `subspace-bench check`",
        summary=(
            f"False-positive rate {drawn[0].count / drawn[0].of:.2%} "
            f"(stated: at most {ALPHA:.0%}). "
            f"Of {len(detectable)} mutations above the minimum detectable effect, "
            f"{sum(m.detected for m in detectable)} were detected (stated: 95%)."
        ),
        tables={
            "references": references_table(references),
            "mutations": mutations_table(measured),
            "false_positives": false_positives_table(fixed[1], drawn[1]),
            "power": power_table(power),
            "designs": designs_table(references),
        },
        values={
            "alpha": f"{ALPHA:.0%}",
            "stages": ", ".join(map(str, STAGES)),
            "futility": ", ".join(f"{p:g}" for p in FUTILITY_P),
            "critical_p": " or ".join(sorted(critical)),
            "family": len(references),
            "detected": detected_of(detectable),
            "surely_detected": detected_of([m for m in measured if m.surely_detectable]),
            "near": sum(m.size < 2 for m in detectable),
            "missed": ", ".join(f"`{m.name}`" for m in detectable if not m.detected) or "none",
            "small_detected": detected_of(small),
            "failing_detected": detected_of(failing),
            "mutation_count": len(measured),
            "measured_runs": MEASURED,
            "fixed": fixed[0],
            "drawn": drawn[0],
            "pool_size": min(map(len, pool.values())),
            "check_count": resampling.CHECKS,
            "drop": f"{min(of[-1.0] for of in power.values()):.1%}",
            "rise": f"{min(of[1.0] for of in power.values()):.1%}",
            **checks_values(trials.checks_made()),
        },
        figures={"regression": PageFigure(lambda: draw(measured, references), CAPTION)},
        command="python -m subspace_bench.regression.validation page",
    )


def measure(
    name: str,
    accuracies: Mapping[trials.Trial, float | str],
    references: References,
    pool: Pool,
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
        unit = minimum_detectable_effect(references, run)
        sizes[run] = size / unit, (size - half_width) / unit
    return Measurement(name, effects, sizes, trials.check_mutation(name, references, accuracies))


def effect_of(values: Sequence[float | str], unchanged: np.ndarray) -> tuple[float, float] | None:
    """Change of the mean and half-width of its 95% interval; None if a training failed."""
    numbers = tuple(v for v in values if isinstance(v, float))
    interval = difference(Sample(numbers), Sample(tuple(unchanged.tolist())))
    if interval is None or len(numbers) < len(values):
        return None
    return (interval.low + interval.high) / 2, interval.half_width


def pool_of(
    references: Mapping[str, Reference], accuracies: Mapping[trials.Trial, float | str]
) -> Pool:
    """Unchanged runs on seeds beyond those of the reference, the same number of each."""
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


def _design(references: References, run: str) -> Design:
    return Design(ALPHA, len(references), len(references[run].values))


def detected_of(measured: Sequence[Measurement]) -> str:
    """ "k of n, share [interval]"."""
    return str(binomial(sum(m.detected for m in measured), len(measured))) if measured else "0 of 0"


def references_table(references: References) -> pd.DataFrame:
    """The reference distributions, and which effect each can detect."""
    rows = []
    for name, reference in references.items():
        effect = minimum_detectable_effect(references, name)
        prefixes = [prefix for prefix in TARGETS if name.startswith(prefix)]
        target = ""
        if prefixes:
            points = TARGETS[max(prefixes, key=len)]
            target = f"≤ {points:g}: " + ("met" if effect <= points else "not met")
        rows.append(
            {
                "run": name,
                "seeds": str(reference.sample.n),
                "accuracy, %": f"{reference.sample.mean:.2f}",
                "sd": f"{reference.sample.sd:.2f}",
                "minimum detectable effect, points": f"{effect:.2f}",
                "target": target,
            }
        )
    return pd.DataFrame(rows)


def mutations_table(measured: Sequence[Measurement]) -> pd.DataFrame:
    """One row a mutation: the missed first, the largest of them at the top; then by size."""
    order = sorted(measured, key=lambda m: (m.detected, m.size if m.detected else -m.size))
    return pd.DataFrame([_mutation_row(m) for m in order])


def _mutation_row(measurement: Measurement) -> dict[str, str]:
    effect = measurement.effects[measurement.run]
    flagged = [o for o in measurement.outcomes if o.verdict != NO_CHANGE]
    shown = min(flagged or measurement.outcomes, key=lambda o: o.decision.p if o.decision else 0.0)
    p = f", p = {shown.decision.p:.1g}" if shown.decision else ""
    result = shown.verdict if measurement.fails_runs else f"n = {len(shown.values)}{p}"
    return {
        "mutation": measurement.name,
        "what is wrong": MUTATIONS[measurement.name].description,
        "run": measurement.run,
        "effect, points": f"{effect[0]:+.2f} ± {effect[1]:.2f}" if effect else "runs fail",
        "relative effect": f"{measurement.size:.2f}" if effect else "",
        "check": f"{'detected' if measurement.detected else 'missed'}: {shown.name}, {result}",
    }


def false_positives_table(fixed: Mapping[str, float], drawn: Mapping[str, float]) -> pd.DataFrame:
    """False-positive rate of each run, and the share of α that it may have."""
    return pd.DataFrame(
        [
            {
                "run": name,
                "committed reference": f"{fixed[name]:.3%}",
                "references drawn": f"{share:.3%}",
                "stated maximum": f"{ALPHA / len(drawn):.3%}",
            }
            for name, share in drawn.items()
        ]
    )


def power_table(power: Mapping[str, Mapping[float, float]]) -> pd.DataFrame:
    """Share of checks that detect a constant shift, in minimum detectable effects."""
    return pd.DataFrame(
        [
            {"run": name, **{f"{shift:+g} ×": f"{share:.1%}" for shift, share in shares.items()}}
            for name, shares in power.items()
        ]
    )


def checks_values(checks: pd.DataFrame) -> dict[str, str]:
    """What the real checks came to; each value "none" if none was made."""
    if checks.empty:
        return dict.fromkeys(("real_false_positives", "real_duration", "real_runs"), "none")
    groups = checks.groupby("check")
    failed = sum(bool((of.verdict != NO_CHANGE).any()) for _, of in groups)
    seconds, runs = groups.seconds.first().astype(float), groups.n.sum().astype(int)
    low, middle, high = map(format_duration, (seconds.min(), seconds.median(), seconds.max()))
    return {
        "real_false_positives": str(binomial(failed, len(groups))),
        "real_duration": f"{middle} ({low} to {high})",
        "real_runs": f"{runs.median():.0f} ({runs.min()} to {runs.max()})",
    }


def designs_table(references: References) -> pd.DataFrame:
    """The minimum detectable effect with other numbers of seeds."""
    rows = []
    for count, last in DESIGNS:
        stages = tuple(n for n in (*STAGES, 24) if n <= last)
        futility_p = (*FUTILITY_P, 0.2)[: len(stages) - 1]
        design = Design(ALPHA, len(references), count, stages, futility_p)
        effect = design.minimum_detectable_effect()
        row = {
            "seeds in the reference": str(count),
            "new seeds at most": str(last),
            "effect, sd": f"{effect:.2f}",
        }
        rows.append(row | {n: f"{effect * r.sample.sd:.2f}" for n, r in references.items()})
    return pd.DataFrame(rows)


def draw(measured: Sequence[Measurement], references: References) -> Figure:
    """Each mutation by its relative effect, detected above and missed below; the stated power."""
    figure, axes = plt.subplots(figsize=(7, 3.2))
    rng = np.random.default_rng(0)
    for detected, base, colour in ((True, 1.0, "tab:blue"), (False, -0.08, "tab:red")):
        chosen = [m for m in measured if m.detected == detected and not m.fails_runs]
        sizes = [max(m.size, 0.01) for m in chosen]
        heights = base + rng.uniform(0, 0.08, len(sizes))
        label = f"{'detected' if detected else 'missed'} ({len(sizes)})"
        axes.plot(sizes, heights, "o", color=colour, ms=5, alpha=0.6, label=label)
    grid = np.geomspace(0.01, 1000, 100)
    design = Design(ALPHA, len(references), min(len(r.values) for r in references.values()))
    power = [design.power(x * design.minimum_detectable_effect()) for x in grid]
    axes.plot(grid, power, color="0.4", lw=1.2, label="stated power")
    axes.axvline(1, color="0.6", lw=0.8, ls=":")
    axes.set(xscale="log", xlabel="effect / minimum detectable effect",
             ylabel="probability of detection", ylim=(-0.12, 1.12))  # fmt: skip
    axes.legend(loc="center right", fontsize=8)
    return figure
