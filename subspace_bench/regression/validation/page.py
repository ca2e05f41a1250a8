"""results/regression.md: stated and measured error rates of a check."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from subspace_bench.common.formatting import format_duration
from subspace_bench.datasets.loading import load_or_embedded
from subspace_bench.regression import suite
from subspace_bench.regression.reference import load
from subspace_bench.regression.sequential import FUTILITY_P, NO_CHANGE, STAGES, Design
from subspace_bench.regression.validation import resampling, trials
from subspace_bench.regression.validation.measurements import Measurement, measure, pool_of
from subspace_bench.regression.validation.mutations import CONV, MEASURED, MUTATIONS, SUBSPACES
from subspace_bench.regression.validation.resampling import References
from subspace_bench.regression.validation.trials import ALPHA, design_of, minimum_detectable_effect
from subspace_bench.reporting.figures import PageFigure
from subspace_bench.reporting.page import Page
from subspace_bench.reporting.statistics import binomial

TARGETS = {CONV: 0.5, **dict.fromkeys(SUBSPACES, 1.0)}  # points
DESIGNS = ((40, 8), (40, 16), (100, 8), (100, 16), (100, 24), (400, 16), (400, 24))
CAPTION = (
    "Mutations by effect, detected or missed (heights jittered), and the power stated for a "
    "constant shift of normal accuracies. Dotted: minimum detectable effect."
)


def build() -> Page:
    """Computes the page from the stored trials, which takes some minutes.

    Raises:
        MissingTrials: if a mutation is not completely trained.
    """
    references = load(trials.REFERENCE, suite.REMEDY)
    suite.require_identity(references, load_or_embedded())
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
    critical = {f"{design_of(references, n).critical_p:.2g}" for n in references}
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


def detected_of(measured: Sequence[Measurement]) -> str:
    """ "k of n, share [interval]"."""
    return str(binomial(sum(m.detected for m in measured), len(measured))) if measured else "0 of 0"


def references_table(references: References) -> pd.DataFrame:
    """The reference distributions and the minimum detectable effect of each."""
    rows = []
    for name, reference in references.items():
        drop, rise = (minimum_detectable_effect(references, name, sign) for sign in (-1, 1))
        target = ""
        if points := TARGETS.get(name):
            target = f"≤ {points:g}: {'met' if max(drop, rise) <= points else 'not met'}"
        rows.append(
            {
                "run": name,
                "seeds": str(reference.sample.n),
                "accuracy, %": f"{reference.sample.mean:.2f}",
                "sd": f"{reference.sample.sd:.2f}",
                "minimum detectable drop, points": f"{drop:.2f}",
                "minimum detectable rise, points": f"{rise:.2f}",
                "target": target,
            }
        )
    return pd.DataFrame(rows)


def mutations_table(measured: Sequence[Measurement]) -> pd.DataFrame:
    """One row per mutation: missed, largest effect first; then detected, smallest first."""
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
        "effect, points": f"{effect[0]:+z.2f} ± {effect[1]:.2f}" if effect else "runs fail",
        "relative effect": f"{measurement.size:.2f}" if effect else "",
        "check": f"{'detected' if measurement.detected else 'missed'}: {shown.name}, {result}",
    }


def false_positives_table(fixed: Mapping[str, float], drawn: Mapping[str, float]) -> pd.DataFrame:
    """False-positive rate of each run and its share of α."""
    return pd.DataFrame(
        {
            "run": name,
            "committed reference": f"{fixed[name]:.3%}",
            "references drawn": f"{share:.3%}",
            "stated maximum": f"{ALPHA / len(drawn):.3%}",
        }
        for name, share in drawn.items()
    )


def power_table(power: Mapping[str, Mapping[float, float]]) -> pd.DataFrame:
    """Share of checks that detect a constant shift, in units of the minimum detectable effect."""
    return pd.DataFrame(
        {"run": name, **{f"{shift:+g} ×": f"{share:.1%}" for shift, share in shares.items()}}
        for name, shares in power.items()
    )


def checks_values(checks: pd.DataFrame) -> dict[str, str]:
    """False positives, duration and size of the real checks."""
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
    """Relative effects of detected (above) and missed (below) mutations, and the stated power."""
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
