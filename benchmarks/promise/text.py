"""The sections of results/regression.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from benchmarks.faults import FAULTS, MEASURED
from benchmarks.promise import ALPHA
from subspace_bench.regression.reference import Reference
from subspace_bench.regression.sequential import CLEAR, LOOKS, WITHIN, Design
from subspace_bench.report import table
from subspace_bench.statistics import Rate, binomial
from subspace_bench.terminal import duration

if TYPE_CHECKING:
    from benchmarks.promise.page import Found, Pool

CAPTION = "Effect of each planted fault, caught or missed, and the stated power"
TARGETS = {"conv": 0.5, "conv, d = 1,000": 1.0}  # points, of runs whose names start so
TRADE = ((40, 8), (40, 16), (100, 8), (100, 16), (100, 24), (400, 16), (400, 24))


def promised(
    references: Mapping[str, Reference], faults: Sequence[Found], alarms: Rate
) -> list[str]:
    """What is promised, and in two lines what came out."""
    from benchmarks.promise.page import smallest

    large = [fault for fault in faults if fault.size > 1]
    power = binomial(sum(fault.caught for fault in large), len(large))
    rows = []
    for name, reference in references.items():
        target = next((TARGETS[t] for t in sorted(TARGETS, reverse=True)
                       if name.startswith(t)), None)  # fmt: skip
        found = smallest(references, name)
        rows.append(
            {
                "run": name,
                "seeds": str(reference.sample.n),
                "accuracy, %": f"{reference.sample.mean:.2f}",
                "sd": f"{reference.sample.sd:.2f}",
                "smallest shift found, points": f"{found:.2f}",
                "wanted": ""
                if target is None
                else f"≤ {target:g}: " + ("met" if found <= target else "not met"),
            }
        )
    looks = ", ".join(str(n) for n in LOOKS)
    clear = ", ".join(f"{p:g}" for p in CLEAR)
    return [
        "# What `subspace-bench check` promises, and what was measured",
        f"- **False alarms**: promised at most {ALPHA:.0%} of checks of unchanged code; measured "
        f"{alarms}.\n- **Power**: promised 95% for shifts of the size below; of the planted faults "
        f"whose effect exceeds it, caught {power}.",
        f"![{CAPTION}](figures/regression.svg)",
        "## The promise",
        f"Each reference run is trained with {looks} new seeds, more only where in doubt, and held "
        "against its reference by the exact Wilcoxon-Mann-Whitney test. One limit on p at every "
        "look pays for the looks, Bonferroni for the "
        f"{len(references)} runs; a look ends the check of a run where p exceeds {clear}. The "
        "smallest shift is that which is found with 95% power, were accuracies normal.",
        table(pd.DataFrame(rows)),
    ]


def faults(found: Sequence[Found]) -> list[str]:
    """Every fault; the missed first."""
    order = sorted(found, key=lambda f: (f.caught, -f.size if not f.caught else f.size))
    missed = [f for f in order if not f.caught]
    return [
        "## Planted faults",
        f"{len(found)} faults, {len(missed)} missed; these come first. Each was measured on "
        f"{MEASURED} of the runs it touches at most, the others taken as unchanged, so that what "
        "is caught is a lower bound. *effect*: change of the mean accuracy, from 20 seeds that no "
        "check saw, of the run on which it is largest beside what is promised; *of the promise*: "
        "that change over the smallest shift promised. *check*: one real check, from seeds of its "
        "own.",
        table(pd.DataFrame([fault_row(f) for f in order])),
    ]


def fault_row(found: Found) -> dict[str, str]:
    change = found.effects[found.worst]
    moved = [o for o in found.outcomes if o.verdict != WITHIN]
    shown = min(moved or found.outcomes, key=lambda o: o.decision.p if o.decision else 0.0)
    p = f", p = {shown.decision.p:.1g}" if shown.decision else ""
    return {
        "fault": found.name,
        "what is wrong": FAULTS[found.name].says,
        "run": found.worst,
        "effect, points": f"{change[0]:+.2f} ± {change[1]:.2f}" if change else "fails",
        "of the promise": f"{found.size:.2f}" if change else "",
        "check": f"{'caught' if moved else 'missed'}: {shown.name}, n = {len(shown.values)}{p}",
    }


def false_alarms(overall: Rate, each: Mapping[str, float], fixed: Rate, pool: Pool) -> list[str]:
    """Checks of unchanged code, drawn from the pool."""
    size = min(len(values) for values in pool.values())
    rows = [{"run": name, "alarms": f"{share:.3%}", "share of α": f"{ALPHA / len(each):.3%}"}
            for name, share in each.items()]  # fmt: skip
    return [
        "## False alarms",
        f"{size} unchanged trainings of each run; every check draws a reference and, disjoint from "
        f"it, new numbers, and judges them by the function that `check` calls. Alarms: {overall}; "
        "the interval resamples the pool. With the committed reference, which is one draw, and new "
        f"numbers from the rest of the pool: {fixed}.",
        table(pd.DataFrame(rows)),
    ]


def checks(made: pd.DataFrame) -> list[str]:
    """Real checks, end to end."""
    if made.empty:
        return ["## Real checks", "None was made yet."]
    groups = made.groupby("check")
    red = sum(bool((of.verdict != WITHIN).any()) for _, of in groups)
    seconds = groups.seconds.first().astype(float)
    trained = groups.n.sum().astype(int)
    return [
        "## Real checks",
        f"`subspace-bench check` on unchanged code, on seeds that no other check and no reference "
        f"has: an alarm in {binomial(red, len(groups))}. A check took {duration(seconds.median())} "
        f"({duration(seconds.min())} to {duration(seconds.max())}) and trained "
        f"{trained.median():.0f} runs ({trained.min()} to {trained.max()}).",
    ]


def trade(references: Mapping[str, Reference]) -> list[str]:
    """What more seeds would buy."""
    rows = []
    for count, last in TRADE:
        looks = tuple(n for n in (*LOOKS, 24) if n <= last)
        clear = (*CLEAR, 0.2)[: len(looks) - 1]
        design = Design(ALPHA, len(references), count, looks, clear)
        shift = design.smallest()
        row = {"seeds in the reference": str(count), "new seeds at most": str(last),
               "shift, sd": f"{shift:.2f}"}  # fmt: skip
        row |= {name: f"{shift * r.sample.sd:.2f}" for name, r in references.items()}
        rows.append(row)
    return [
        "## The trade",
        "The smallest shift that is found with 95% power, in standard deviations and in points.",
        table(pd.DataFrame(rows)),
    ]
