"""A check: compares new values with every reference, adding seeds while inconclusive."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

import pandas as pd

from subspace_bench.common.errors import UserError
from subspace_bench.regression import FIRST_SEED
from subspace_bench.regression.reference import LARGEST, Reference
from subspace_bench.regression.sequential import CHANGED, INCONCLUSIVE, Decision, Design
from subspace_bench.reporting import render
from subspace_bench.reporting.page import Page
from subspace_bench.reporting.statistics import Sample

NOT_JUDGED = "not judged"
# Characters that XML 1.0 (section 2.2) does not allow, such as a terminal's colour codes.
NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
Task = tuple[str, int]  # name, seed
Results = Mapping[Task, float | str]  # a value, or why there is none


@dataclass(frozen=True)
class Outcome:
    """The result of checking one reference.

    Attributes:
        values: the new values, in the order of their seeds.
        decision: the decision of the last stage; None if not judged.
        failure: why the reference could not be judged; else empty.
    """

    name: str
    reference: Reference
    design: Design
    values: tuple[float, ...]
    decision: Decision | None
    failure: str = ""

    @property
    def verdict(self) -> str:
        return NOT_JUDGED if self.decision is None else self.decision.verdict

    @property
    def minimum_detectable_effects(self) -> tuple[float, float]:
        """The drop and the rise that are detected with 95% power, in the quantity's unit."""
        return self.design.minimum_detectable_effects(self.reference.values)

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
            drop, rise = (f"{e:.{self.digits}f}" for e in self.minimum_detectable_effects)
            return f"A drop of {drop} or a rise of {rise} would be detected with 95% power."
        remedy = "Find the cause, or update the reference if the change is intended."
        if self.decision.up:
            return f"It went up, as with leaked or broken test data. {remedy}"
        return f"It went down. {remedy}"


def check(
    references: Mapping[str, Reference],
    measure: Callable[[Sequence[Task]], Results],
    alpha: float = 0.01,
    first_seed: int = FIRST_SEED,
) -> list[Outcome]:
    """Compares new values with every reference.

    Arguments:
        measure: returns a value for each (name, seed); called once per stage.
        alpha: false-positive rate: the probability that any reference is judged "changed" although
            none has.
        first_seed: the first seed of the new values.

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
                decision = designs[name].judge(references[name].values, values[name])
                if decision.verdict == INCONCLUSIVE:
                    continue
            outcomes[name] = Outcome(
                name, references[name], designs[name], tuple(values[name]), decision, failure
            )
    return [outcomes[name] for name in references]


def make_design(name: str, reference: Reference, alpha: float, family: int) -> Design:
    """The test of one reference."""
    design = Design(alpha, family, len(reference.values))
    if design.critical_p == 0:
        raise UserError(
            f"{name}: {design.reference} reference values are too few for an alpha of {alpha:g} "
            f"over {family}: use a larger alpha"
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


def frame(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """The table of a check: one row per reference, all strings."""
    return pd.DataFrame([_row(outcome) for outcome in outcomes])


def _row(outcome: Outcome) -> dict[str, str]:
    old, new = outcome.reference.sample, Sample(outcome.values)
    decision, digits = outcome.decision, outcome.digits
    return {
        "run": outcome.name,
        "reference": f"{old.mean:.{digits}f} ± {old.sd:.{digits}f}",
        "now": f"{new.mean:.{digits}f} (n = {new.n})" if new.n else "",
        "difference": f"{decision.difference:+z.{digits}f}" if decision else "",
        "p": f"{decision.p:.2g}" if decision else "",
        "verdict": outcome.verdict,
        "meaning": outcome.meaning,
    }


def method(outcomes: Sequence[Outcome], alpha: float) -> str:
    """What the columns show, and the error rate."""
    critical = sorted({f"{outcome.design.critical_p:.2g}" for outcome in outcomes})
    return (
        "Reference: mean ± standard deviation over seeds. p: two-sided Wilcoxon-Mann-Whitney test "
        f"of the last stage. Critical value: p ≤ {' or '.join(critical)}. False-positive rate: at "
        f"most {alpha:.2%} for all {len(outcomes)} together, averaged over references."
    )


def markdown(outcomes: Sequence[Outcome], alpha: float) -> str:
    """The check as a markdown page."""
    summary = "; ".join(
        f"{verdict}: {sum(outcome.verdict == verdict for outcome in outcomes)} of {len(outcomes)}"
        for verdict in dict.fromkeys(outcome.verdict for outcome in outcomes)
    )
    return page_of("Accuracy check", summary, frame(outcomes), method(outcomes, alpha))


def page_of(title: str, summary: str, table: pd.DataFrame, method: str) -> str:
    """A report as markdown, from the template check.md.j2."""
    return render.markdown(
        Page("check", title, summary, {"runs": table}, values={"method": method})
    )


def junit(outcomes: Sequence[Outcome]) -> str:
    """The check as JUnit XML, which CI services display."""
    kinds = {CHANGED: "failure", NOT_JUDGED: "error"}
    return junit_of([(o.name, kinds.get(o.verdict, ""), o.meaning) for o in outcomes])


def junit_of(cases: Sequence[tuple[str, str, str]]) -> str:
    """JUnit XML of cases: name, "failure" or "error" or "" if passed, message."""
    kinds = [kind for _, kind, _ in cases]
    suite = ElementTree.Element(
        "testsuite", name="accuracy", tests=str(len(cases)),
        failures=str(kinds.count("failure")), errors=str(kinds.count("error")),
    )  # fmt: skip
    for name, kind, message in cases:
        case = ElementTree.SubElement(suite, "testcase", classname="accuracy", name=name)
        if kind:
            ElementTree.SubElement(case, kind, message=NO_XML.sub("?", message))
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
