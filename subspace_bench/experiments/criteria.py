"""One judge for each kind of criterion in `published/claims.toml`, from accuracies over seeds.

If several intervals decide a claim, they have a joint confidence of 95% (Bonferroni). A claim with
too few seeds is undecided, whatever they show.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from subspace_bench.experiments import published, tutorials
from subspace_bench.records.config import RunConfig
from subspace_bench.reporting.statistics import (
    FAILS,
    HOLDS,
    UNDECIDED,
    Interval,
    Sample,
    at_least,
    at_most,
    difference,
)
from subspace_bench.training import presets

EPOCHS = 100
PYTORCH = "2"  # row of the tutorials' table
Claim = dict[str, Any]
Judged = tuple[str, str]  # evidence, verdict
Accuracies = Callable[..., Sample]  # (run, updates=…) → accuracies over seeds


@dataclass(frozen=True)
class Seeds:
    """Accuracies of one run, and the number of seeds that a claim needs of it.

    Attributes:
        planned: the number fixed beforehand; None if the claim has no plan.
    """

    sample: Sample
    planned: int | None = None

    @property
    def sufficient(self) -> bool:
        fewest: int = published.load("claims")["seeds"]["fewest"]
        return self.sample.n >= (self.planned or fewest)

    def show(self) -> str:
        """Number of seeds, and the planned number until it is reached."""
        complete = self.planned is None or self.sufficient
        return f"{self.sample.n}" if complete else f"{self.sample.n} of {self.planned} planned"


def planned_seeds(run: RunConfig) -> int:
    """The number of seeds fixed for a run; 0 if none was."""
    plan = published.load("claims")["seeds"]["planned"]
    if run.draws != "streams" or run.protocol.steps != presets.epochs(EPOCHS):
        return 0
    size = "D" if run.dim is None else f"d{run.dim}"
    count: int = plan.get(size if run.model == "conv" else run.model, 0)
    return count


def collect(
    claim: Claim, accuracies: Accuracies, run: RunConfig, updates: int | None = None
) -> Seeds:
    """The accuracies of a run for a claim, with no more seeds than the claim planned."""
    sample = accuracies(run, updates=updates)
    claims = published.load("claims")["seeds"]["planned"]["claims"]
    planned = planned_seeds(run) if claim["id"] in claims else 0
    return Seeds(Sample(sample.values[:planned]), planned) if planned else Seeds(sample)


def collect_conv(
    claim: Claim, accuracies: Accuracies, dim: int | None, epochs: int = EPOCHS
) -> Seeds:
    """The conv net's accuracies after `epochs`, from its 100-epoch runs."""
    at = None if epochs == EPOCHS else presets.post("conv", dim, epochs).protocol.last_score
    return collect(claim, accuracies, presets.post("conv", dim, EPOCHS), at)


def compare(a: Seeds, b: Seeds, comparisons: int = 1) -> tuple[str, Interval | None]:
    """mean(a) − mean(b).

    Arguments:
        comparisons: number of intervals that share the 95% confidence.

    Returns:
        The difference as text, and its interval if both have enough seeds for a verdict.
    """
    if not (a.sample.n and b.sample.n):
        return "not run", None
    gap = difference(a.sample, b.sample, comparisons)
    middle = show_difference(gap) if gap else f"{a.sample.mean - b.sample.mean:z.2f}"
    text = f"{middle} (n = {a.show()} and {b.show()})"
    if a.sufficient and b.sufficient:
        return text, gap
    return f"{text}, too few seeds", None


def show_difference(gap: Interval) -> str:
    """A difference as middle ± half-width, in points."""
    return f"{(gap.low + gap.high) / 2:z.2f} ± {gap.half_width:.2f}"


def all_of(verdicts: Sequence[str]) -> str:
    return FAILS if FAILS in verdicts else UNDECIDED if UNDECIDED in verdicts else HOLDS


def any_of(verdicts: Sequence[str]) -> str:
    return HOLDS if HOLDS in verdicts else UNDECIDED if UNDECIDED in verdicts else FAILS


def judge_noninferiority(claim: Claim, accuracies: Accuracies) -> Judged:
    """Each subspace loses at most `points` against D."""
    parts, verdicts = [], []
    full, dims = collect_conv(claim, accuracies, None), claim["dims"]
    for dim in dims:
        text, gap = compare(full, collect_conv(claim, accuracies, dim), len(dims))
        verdicts.append(at_most(gap, claim["points"]))
        parts.append(f"{dim:,} ({1 - dim / presets.native('conv'):.0%} fewer): {text}")
    return "below D by " + "; ".join(parts), all_of(verdicts)


def judge_difference(claim: Claim, accuracies: Accuracies) -> Judged:
    """The loss against D lies in the printed range: the claim holds if its whole interval does."""
    dim = claim["dim"]
    text, gap = compare(collect_conv(claim, accuracies, None), collect_conv(claim, accuracies, dim))
    printed = Interval(claim["low"], claim["high"])
    if gap is None:
        judgement = UNDECIDED
    elif not gap.overlaps(printed):
        judgement = FAILS
    else:
        judgement = HOLDS if printed.low <= gap.low and gap.high <= printed.high else UNDECIDED
    return f"costs {text}", judgement


def judge_superiority(claim: Claim, accuracies: Accuracies) -> Judged:
    """The subspace is more accurate than the small net."""
    small = collect(claim, accuracies, presets.lite(claim["lite"], claim["epochs"]))
    ours = collect_conv(claim, accuracies, claim["dim"])
    text, gap = compare(ours, small)
    both = f"{ours.sample.show()} against {small.sample.show()}"
    return f"{both}: ahead by {text}", at_least(gap, 0.0)


def judge_threshold(claim: Claim, accuracies: Accuracies) -> Judged:
    """Mean accuracy is at least `percent` after one of the deciding lengths."""
    parts, verdicts = [], []
    deciding = claim.get("deciding") or claim["epochs"]
    for epochs in claim["epochs"]:
        if "lite" in claim:
            seeds = collect(claim, accuracies, presets.lite(claim["lite"], epochs))
        else:
            seeds = collect_conv(claim, accuracies, claim["dim"], epochs)
        # One deciding length is enough for the claim to hold: correct for the number of them.
        comparisons = len(deciding) if epochs in deciding else 1
        sample = seeds.sample
        few = f", too few seeds ({seeds.show()})" if sample.n and not seeds.sufficient else ""
        parts.append(f"{sample.show(comparisons)} after {epochs} epochs{few}")
        if epochs in deciding:
            interval = sample.confidence(comparisons) if seeds.sufficient else None
            verdicts.append(at_least(interval, claim["percent"]))
    return "; ".join(parts), any_of(verdicts)


def judge_equivalence(claim: Claim, accuracies: Accuracies) -> Judged:
    """The mean curves of conv and FC differ by at most `points` at every score of every d."""
    dims = (*presets.SMALL, None)
    protocol = presets.post("conv", None, 10).protocol
    scored = [u for u in range(1, protocol.steps) if protocol.scored(u)]
    comparisons = len(scored) * len(dims)  # one difference beyond `points` refutes the claim
    parts, verdicts = [], []
    for dim in dims:
        nets = [presets.post(model, dim, 10) for model in ("conv", "fc")]
        at = {u: [accuracies(run, updates=u) for run in nets] for u in scored}
        gaps = {
            u: difference(of_conv, of_fc, comparisons)
            if Seeds(of_conv).sufficient and Seeds(of_fc).sufficient
            else None
            for u, (of_conv, of_fc) in at.items()
        }
        verdicts += [at_most(absolute(gap), claim["points"]) for gap in gaps.values()]
        name = f"d = {dim:,}" if dim else "D"
        parts.append(f"{name}: {clearest(gaps, at[scored[-1]])}")
    text = f"clearest of {len(scored)} gaps, conv − FC: " + "; ".join(parts)
    return f"{text}. {largest_published_gap()}", all_of(verdicts)


def clearest(gaps: dict[int, Interval | None], both: Sequence[Sample]) -> str:
    """The difference whose interval is farthest from zero, as text.

    Arguments:
        gaps: updates → interval of the difference.
        both: a sample of each net, for their numbers of seeds.
    """
    seeds = f"(n = {both[0].n} and {both[1].n})"
    sizes = {u: size for u, gap in gaps.items() if (size := absolute(gap)) is not None}
    if not sizes:
        return f"too few seeds {seeds}" if both[0].n and both[1].n else "not run"
    at = max(sizes, key=lambda u: (sizes[u].low, sizes[u].high))
    gap = gaps[at]
    assert gap is not None
    return f"{show_difference(gap)} at step {at - 1:,} {seeds}"


def largest_published_gap() -> str:
    """The largest difference between the post's own two figures, where both show a point."""
    curves = published.load("post")["ultra-small"]["curves"]
    gaps = [
        (abs(a - b), dim, step)
        for dim in curves["conv"]
        for step, a, b in zip(curves["steps"], curves["conv"][dim], curves["fc"][dim], strict=True)
        if not math.isnan(a + b)
    ]
    gap, dim, step = max(gaps)
    return f"In the post's own figures: {gap:.1f} at {dim.replace('d', 'd = ')}, step {step:,}"


def absolute(gap: Interval | None) -> Interval | None:
    """The interval of the absolute value."""
    if gap is None:
        return None
    ends = sorted((abs(gap.low), abs(gap.high)))
    return Interval(0.0 if 0.0 in gap else ends[0], ends[1])


def judge_counts(claim: Claim, accuracies: Accuracies) -> Judged:
    """The PyTorch tutorial's net is the smallest that claims 99%, or the only one below a size."""
    others = {
        row: count
        for row, count in tutorials.counts().items()
        if tutorials.claimed_range(row).high >= 99.0 and row != PYTORCH
    }
    if "below" in claim:
        smaller = [row for row, count in others.items() if count < claim["below"]]
        text = "; ".join(
            f"row {row}: {others[row]:,} parameters, claims "
            f"{tutorials.row_of(row)['accuracy_text']}"
            for row in smaller
        )
        return text or "no other", FAILS if smaller else HOLDS
    count = tutorials.counts()[PYTORCH]
    smallest = min(others, key=lambda row: others[row])
    trained = accuracies(presets.tutorial(PYTORCH))
    sufficient = Seeds(trained).sufficient
    few = ", too few seeds" if trained.n and not sufficient else ""
    text = (
        f"{count:,} parameters, {trained.show()} under its own protocol{few}; the next is row "
        f"{smallest} with {others[smallest]:,}"
    )
    if count >= others[smallest]:
        return text, FAILS
    return text, at_least(trained.confidence() if sufficient else None, claim["percent"])


JUDGES: dict[str, Callable[[Claim, Accuracies], Judged]] = {
    "noninferiority": judge_noninferiority,
    "difference": judge_difference,
    "superiority": judge_superiority,
    "threshold": judge_threshold,
    "equivalence": judge_equivalence,
    "counts": judge_counts,
}
