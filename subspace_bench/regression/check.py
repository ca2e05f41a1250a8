"""A check: compares new values with every reference, adding seeds while inconclusive."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from subspace_bench.common.errors import UserError
from subspace_bench.regression import FIRST_SEED
from subspace_bench.regression.reference import LARGEST, Reference
from subspace_bench.regression.sequential import CHANGED, INCONCLUSIVE, NO_CHANGE, Decision, Design
from subspace_bench.reporting.statistics import Sample

NOT_JUDGED = "not judged"
NO_SPREAD = (
    "All {} values of the reference are equal: if the training ignores its seed, the test is void; "
    "otherwise any change of most values would be detected."
)
Task = tuple[str, int]  # name, seed
Results = Mapping[Task, float | str]  # a value, or why there is none


@dataclass(frozen=True)
class Outcome:
    """The result of checking one reference.

    Attributes:
        values: the new values, in the order of their seeds.
        decision: the decision of the last stage; None if not judged.
        failure: why the reference could not be judged; else empty.
        tolerance: the shift that is no change, see `check`.
        higher_is_better: False for a loss.
    """

    name: str
    reference: Reference
    design: Design
    values: tuple[float, ...]
    decision: Decision | None
    failure: str = ""
    tolerance: float = 0.0
    higher_is_better: bool = True

    @property
    def verdict(self) -> str:
        return NOT_JUDGED if self.decision is None else self.decision.verdict

    @property
    def minimum_detectable_effects(self) -> tuple[float, float]:
        """The drop and the rise that are detected with 95% power, in the quantity's unit."""
        drop, rise = self.design.minimum_detectable_effects(self.reference.values)
        return self.tolerance + drop, self.tolerance + rise

    @property
    def digits(self) -> int:
        """Decimals that show two significant digits of the standard deviation."""
        sd = self.reference.sample.sd
        return max(0, 1 - math.floor(math.log10(sd))) if sd > 0 else 2

    @property
    def meaning(self) -> str:
        """What the verdict means for the user, in one sentence."""
        if self.decision is None:
            return f"Not judged: {self.failure}."
        if self.verdict != CHANGED:
            return self.power
        remedy = "Find the cause, or update the reference if the change is intended."
        direction = "up" if self.decision.up else "down"
        if self.decision.up == self.higher_is_better:
            return f"It went {direction}, as with leaked or broken test data. {remedy}"
        return f"It went {direction}, which is worse. {remedy}"

    @property
    def power(self) -> str:
        """What a check would detect, in one sentence."""
        if self.reference.sample.sd == 0:
            return NO_SPREAD.format(len(self.reference.values))
        drop, rise = (f"{e:.{self.digits}f}" for e in self.minimum_detectable_effects)
        return f"A drop of {drop} or a rise of {rise} would be detected with 95% power."


def check(
    references: Mapping[str, Reference],
    measure: Callable[[Sequence[Task]], Results],
    alpha: float = 0.01,
    first_seed: int = FIRST_SEED,
    tolerance: float = 0.0,
    higher_is_better: bool = True,
) -> list[Outcome]:
    """Compares new values with every reference.

    Arguments:
        measure: returns a value for each (name, seed); called once per stage.
        alpha: false-positive rate: the probability that any reference is judged "changed" although
            none has.
        first_seed: the first seed of the new values.
        tolerance: a shift by at most this is no change, in the unit of the values. New values are
            moved by it towards the reference, from either side, before they are compared; so the
            false-positive rate is at most alpha for all shifts within it.
        higher_is_better: False for a loss; decides only what a change is called.

    Raises:
        UserError: if a reference is too small for any verdict at this alpha.
    """
    designs = {name: make_design(name, r, alpha, len(references)) for name, r in references.items()}
    values: dict[str, list[float]] = {name: [] for name in references}
    outcomes: dict[str, Outcome] = {}
    while len(outcomes) < len(references):
        running = [name for name in references if name not in outcomes]
        stage = {n: next(s for s in designs[n].stages if s > len(values[n])) for n in running}
        tasks = [(n, first_seed + i) for n in running for i in range(len(values[n]), stage[n])]
        results = measure(tasks)
        for name in running:
            new = [results[task] for task in tasks if task[0] == name]
            failure = find_failure(new)
            values[name] += [v for v in new if isinstance(v, float)]
            decision = None
            if not failure:
                decision = judge(designs[name], references[name], values[name], tolerance)
                if decision.verdict == INCONCLUSIVE:
                    continue
            outcomes[name] = Outcome(
                name, references[name], designs[name], tuple(values[name]), decision, failure,
                tolerance, higher_is_better,
            )  # fmt: skip
    return [outcomes[name] for name in references]


def judge(
    design: Design, reference: Reference, new: Sequence[float], tolerance: float = 0.0
) -> Decision:
    """The decision on new values of which a shift by at most `tolerance` is no change."""
    if not tolerance:
        return design.judge(reference.values, new)
    sides = [
        (-tolerance, design.judge(reference.values, [value - tolerance for value in new])),
        (tolerance, design.judge(reference.values, [value + tolerance for value in new])),
    ]
    # Moved down by the tolerance, values that still rank above the reference are a rise.
    outside = [d for moved, d in sides if d.verdict != NO_CHANGE and d.up == (moved < 0)]
    decision = min(outside or [d for _, d in sides], key=lambda d: (d.verdict != CHANGED, d.p))
    verdict = decision.verdict if outside else NO_CHANGE
    difference = math.fsum(new) / len(new) - reference.sample.mean
    return replace(decision, verdict=verdict, difference=difference)


def make_design(name: str, reference: Reference, alpha: float, family: int) -> Design:
    """The test of one reference."""
    design = Design(alpha, family, len(reference.values))
    if design.critical_p == 0:
        raise UserError(
            f"{name}: {design.reference} reference values are too few for an alpha of {alpha:g} "
            f"over {family}: use a larger alpha, or more seeds"
        )
    return design


def find_failure(values: Sequence[float | str]) -> str:
    """Why these values cannot be judged, or an empty string."""
    for value in values:
        if isinstance(value, str):
            return value
        if not abs(value) <= LARGEST:  # also NaN
            return f"a training returned {value}"
    return ""


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """0: no change found; 1: changed; 2: at least one could not be judged."""
    verdicts = {outcome.verdict for outcome in outcomes}
    return 2 if NOT_JUDGED in verdicts else 1 if CHANGED in verdicts else 0


def row(outcome: Outcome) -> dict[str, str]:
    """A row of the table of a check, all strings."""
    old, new = outcome.reference.sample, Sample(outcome.values)
    decision, digits = outcome.decision, outcome.digits
    return {
        "run": outcome.name,
        "reference": f"{old.mean:.{digits}f} ± {old.sd:.{digits}f}",
        "now": f"{new.mean:.{digits}f} (n = {new.n})" if new.n else "",
        "difference": f"{decision.difference:+z.{digits}f}" if decision else "",
        "medians": f"{statistics.median(old.values):.{digits}f} → "
        f"{statistics.median(new.values):.{digits}f}"
        if new.n
        else "",
        "p": f"{decision.p:.2g}" if decision else "",
        "verdict": outcome.verdict,
        "meaning": outcome.meaning,
    }


def method(outcomes: Sequence[Outcome], alpha: float) -> str:
    """What the columns show, and the error rate."""
    together = f" for all {len(outcomes)} together" if len(outcomes) > 1 else ""
    critical = sorted({f"{outcome.design.critical_p:.2g}" for outcome in outcomes})
    return (
        "Reference: mean ± standard deviation over seeds. p: two-sided Wilcoxon-Mann-Whitney test "
        f"of the last stage. Critical value: p ≤ {' or '.join(critical)}. False-positive rate: at "
        f"most {alpha:.2%}{together}, averaged over references."
    )
