"""The sections of results/regression.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from subspace_bench.common.formatting import format_duration
from subspace_bench.regression.reference import Reference
from subspace_bench.regression.sequential import FUTILITY_P, STAGES, WITHIN, Design
from subspace_bench.regression.validation import resampling
from subspace_bench.regression.validation.mutations import MEASURED, MUTATIONS
from subspace_bench.regression.validation.trials import ALPHA
from subspace_bench.reporting.render import markdown_table
from subspace_bench.reporting.statistics import Rate, binomial

if TYPE_CHECKING:
    from subspace_bench.regression.validation.page import Found
    from subspace_bench.regression.validation.resampling import Pool

CAPTION = (
    "Each planted fault that ends no run by its effect, caught (1) or missed (0), spread a "
    "little to be seen, and the stated power; dotted: the smallest shift promised"
)
TARGETS = {"conv": 0.5, "conv, d = 1,000": 1.0}  # points, of runs whose names start so
TRADE = ((40, 8), (40, 16), (100, 8), (100, 16), (100, 24), (400, 16), (400, 24))


def promised(
    references: Mapping[str, Reference], faults: Sequence[Found], alarms: tuple[Rate, Rate]
) -> list[str]:
    """What is promised, and in a few lines what came out; what was missed before all else."""
    from subspace_bench.regression.validation.page import smallest

    large = [fault for fault in faults if fault.large]
    missed = [fault.name for fault in large if not fault.caught]
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
    looks = ", ".join(str(n) for n in STAGES)
    clear = ", ".join(f"{p:g}" for p in FUTILITY_P)
    lengths = {len(reference.values) for reference in references.values()}
    limits = [f"{Design(ALPHA, len(references), n).critical_p:.2g}" for n in sorted(lengths)]
    return [
        "# What `subspace-bench check` promises, and what was measured",
        "- **Missed although above the promise**: "
        + (", ".join(f"`{name}`" for name in missed) if missed else "none")
        + ".\n"
        "- **Power**: promised 95% for shifts of the size below; of the planted faults whose "
        f"effect exceeds it, caught {caught_of(large)}, with the 95% interval; of those that "
        "exceed it by the lower end of the effect's interval, "
        f"{caught_of([f for f in faults if f.surely_large])}. Only "
        f"{sum(f.size < 2 for f in large)} of them are below twice the promise: what is found at "
        "its edge, plain shifts say, further down.\n"
        f"- **False alarms**: promised at most {ALPHA:.0%} of checks of unchanged code, on average "
        f"over references; measured with references drawn, too: {alarms[1]}; against the committed "
        f"one: {alarms[0]}.",
        f"![{CAPTION}](figures/regression.svg)",
        "## The promise",
        f"Each reference run is trained with {looks} new seeds, more only where in doubt, and held "
        "against its reference by the exact Wilcoxon-Mann-Whitney test. One limit on p at every "
        "look pays for the looks, Bonferroni for the "
        f"{len(references)} runs: *moved* is p of {' or '.join(limits)} or less; a "
        f"look ends the check of a run where p exceeds {clear}. The smallest shift is that "
        "which is found with 95% power, were accuracies normal.",
        markdown_table(pd.DataFrame(rows)),
    ]


def caught_of(found: Sequence[Found]) -> str:
    """How many are caught, with the interval."""
    if not found:
        return "none, as there is none"
    return str(binomial(sum(fault.caught for fault in found), len(found)))


def faults(found: Sequence[Found]) -> list[str]:
    """Every fault: the missed first, those above the promise before all."""
    order = sorted(found, key=lambda f: (f.caught, -f.size if not f.caught else f.size))
    small = [f for f in found if not f.large and not f.ends_runs]
    ends = [f for f in found if f.ends_runs]
    return [
        "## Planted faults",
        f"{len(found)} faults, the missed first. Of {len(small)} whose effect is below the "
        f"promise, caught {caught_of(small)}. {len(ends)} end some training in an error or NaN: a "
        f"check ends with exit code 1 or 2 for {sum(f.caught for f in ends)} of them. Each fault "
        f"was measured on {MEASURED} of the runs it touches at most, the others taken as "
        "unchanged. *effect*: change of the mean accuracy, from 20 seeds that no check saw, of the "
        "run on which it is largest beside what is promised, with its 95% interval; *of the "
        "promise*: that change over the smallest shift promised. *check*: one real check, on seeds "
        "that no other fault has: of the runs that moved, or else of all, that of the "
        "least p, which need not be the run of the effect. A rank test may see a change "
        "of spread, too, where the mean has hardly moved.",
        markdown_table(pd.DataFrame([fault_row(f) for f in order])),
    ]


def fault_row(found: Found) -> dict[str, str]:
    change = found.effects[found.worst]
    moved = [o for o in found.outcomes if o.verdict != WITHIN]
    shown = min(moved or found.outcomes, key=lambda o: o.decision.p if o.decision else 0.0)
    p = f", p = {shown.decision.p:.1g}" if shown.decision else ""
    return {
        "fault": found.name,
        "what is wrong": MUTATIONS[found.name].says,
        "run": found.worst,
        "effect, points": f"{change[0]:+.2f} ± {change[1]:.2f}" if change else "ends runs",
        "of the promise": f"{found.size:.2f}" if change else "",
        "check": f"{'caught' if found.caught else 'missed'}: {shown.name}, "
        f"{shown.verdict if found.ends_runs else f'n = {len(shown.values)}{p}'}",
    }


def false_alarms(
    fixed: tuple[Rate, Mapping[str, float]], free: tuple[Rate, Mapping[str, float]], pool: Pool
) -> list[str]:
    """Checks of unchanged code, drawn from trained runs."""
    size = min(len(values) for values in pool.values())
    rows = [
        {"run": name, "committed reference": f"{fixed[1][name]:.3%}",
         "references drawn": f"{share:.3%}", "share of α": f"{ALPHA / len(pool):.3%}"}
        for name, share in free[1].items()
    ]  # fmt: skip
    return [
        "## False alarms",
        f"{size} unchanged trainings of each run beside the reference's own. A check draws its "
        "new numbers from them and judges them by the function that `check` calls: alarms against "
        f"the committed reference in {fixed[0]}. With a reference drawn as well, disjoint from the "
        f"new numbers: {free[0]}; the test goes by ranks, so that there only ties and what the "
        "runs have in common can move the rate. Each interval resamples the trainings, and tells "
        "what others would have given.",
        markdown_table(pd.DataFrame(rows)),
    ]


def shifts(found: Mapping[str, Mapping[float, float]]) -> list[str]:
    """How often a plain shift is found, down or up."""
    least = {way: min(of[way] for of in found.values()) for way in (-1.0, 1.0)}
    rows = [
        {
            "run": name,
            **{f"{times:+g} ×": f"{share:.1%}" for times, share in of.items()},
        }
        for name, of in found.items()
    ]
    return [
        "## Power for plain shifts",
        "The smallest shift is promised to be found with 95% power, over references and for normal "
        "accuracies. Here unchanged trainings, all shifted by a multiple of it, are held against "
        f"the committed reference, {resampling.CHECKS:,} times each: a drop of that size is found "
        f"in {least[-1.0]:.1%} or more, a rise in {least[1.0]:.1%} or more. Most accuracies are "
        "skewed, with their long tail below, and a reference of so many seeds is not quite where "
        "all seeds are: what one side gains by either, the other loses. A fault that ruins few "
        "seeds and leaves the others is no such shift, and is seen less.",
        markdown_table(pd.DataFrame(rows)),
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
        f"has: an alarm in {binomial(red, len(groups))}. A check "
        f"took {format_duration(seconds.median())} ({format_duration(seconds.min())} to "
        f"{format_duration(seconds.max())}) and trained "
        f"{trained.median():.0f} runs ({trained.min()} to {trained.max()}).",
    ]


def trade(references: Mapping[str, Reference]) -> list[str]:
    """What more seeds would buy."""
    rows = []
    for count, last in TRADE:
        looks = tuple(n for n in (*STAGES, 24) if n <= last)
        clear = (*FUTILITY_P, 0.2)[: len(looks) - 1]
        design = Design(ALPHA, len(references), count, looks, clear)
        shift = design.minimum_detectable_effect()
        row = {"seeds in the reference": str(count), "new seeds at most": str(last),
               "shift, sd": f"{shift:.2f}"}  # fmt: skip
        row |= {name: f"{shift * r.sample.sd:.2f}" for name, r in references.items()}
        rows.append(row)
    return [
        "## The trade",
        "The smallest shift that is found with 95% power, in standard deviations and in points.",
        markdown_table(pd.DataFrame(rows)),
    ]
