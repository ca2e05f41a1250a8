"""A check: new numbers for every reference, two seeds first, more only where in doubt."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from xml.etree import ElementTree

import pandas as pd

from subspace_bench.common.errors import UserError
from subspace_bench.regression import FIRST_SEED
from subspace_bench.regression.reference import Reference
from subspace_bench.regression.sequential import IN_DOUBT, MOVED, WITHIN, Decision, Design
from subspace_bench.reporting.statistics import Sample

FAILED = "not judged"
# What XML 1.0 (section 2.2) has no place for, such as the colours of a terminal.
NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
Task = tuple[str, int]  # name, seed
Measured = Mapping[Task, float | str]  # a number, or why there is none


@dataclass(frozen=True)
class Outcome:
    """What a check says of one reference.

    Attributes:
        values: the new numbers, in the order of their seeds.
        failure: why it could not be judged; empty where it was.
    """

    name: str
    reference: Reference
    design: Design
    values: tuple[float, ...]
    decision: Decision | None
    failure: str = ""

    @property
    def verdict(self) -> str:
        return FAILED if self.decision is None else self.decision.verdict

    @property
    def smallest(self) -> float:
        """The shift that is found with 95% power, in the quantity's own unit."""
        return self.design.minimum_detectable_effect() * self.reference.sample.sd

    @property
    def digits(self) -> int:
        """After the point, so that two of the standard deviation's are seen."""
        sd = self.reference.sample.sd
        return max(0, 1 - math.floor(math.log10(sd))) if sd > 0 else 2

    @property
    def sentence(self) -> str:
        """What the verdict means."""
        if self.decision is None:
            return f"No verdict: {self.failure}."
        if self.verdict == MOVED:
            way = "up, which a leak or a broken test set does too" if self.decision.up else "down"
            return f"It moved {way}: find the change that did it, or rebase if it is meant."
        found = f"{self.smallest:.{self.digits}f}"
        return f"No sign of a move; one of all seeds by {found} is found with 95% power."


def check(
    references: Mapping[str, Reference],
    measure: Callable[[Sequence[Task]], Measured],
    alpha: float = 0.01,
    first: int = FIRST_SEED,
) -> list[Outcome]:
    """Judges every reference by new numbers.

    Arguments:
        measure: trains all (name, seed) it is given; it is called once a look.
        alpha: probability that any reference is called moved though none has.
        first: the first seed of the new numbers.

    Raises:
        UserError: where a reference is too small to say anything at this alpha.
    """
    designs = {name: design(name, r, alpha, len(references)) for name, r in references.items()}
    values: dict[str, list[float]] = {name: [] for name in references}
    done: dict[str, Outcome] = {}
    while len(done) < len(references):
        tasks = [
            (name, first + seed)
            for name in references
            if name not in done
            for seed in range(len(values[name]), wanted(designs[name], values[name]))
        ]
        found = measure(tasks)
        for name in references:
            if name in done:
                continue
            new = [found[task] for task in tasks if task[0] == name]
            reason = failure(new)
            values[name] += [v for v in new if isinstance(v, float)]
            decision = None
            if not reason:
                decision = designs[name].judge(references[name].values, values[name])
                if decision.verdict == IN_DOUBT:
                    continue
            numbers = tuple(values[name])
            done[name] = Outcome(name, references[name], designs[name], numbers, decision, reason)
    return [done[name] for name in references]


def design(name: str, reference: Reference, alpha: float, family: int) -> Design:
    """The test of one reference."""
    made = Design(alpha, family, len(reference.values))
    if made.critical_p == 0:
        raise UserError(
            f"{name}: {made.reference} numbers cannot tell a move at an alpha of {alpha:g} over "
            f"{family}: use a larger alpha"
        )
    return made


def wanted(design: Design, values: Sequence[float]) -> int:
    """How many numbers the next look takes."""
    return next(n for n in design.stages if n > len(values))


def failure(values: Sequence[float | str]) -> str:
    """Why these numbers cannot be judged; empty where they can."""
    for value in values:
        if isinstance(value, str):
            return value
        if not math.isfinite(value):
            return f"a training came to {value}"
    return ""


def exit_code(outcomes: Sequence[Outcome]) -> int:
    """0: all within; 1: moved; 2: something could not be judged."""
    verdicts = {outcome.verdict for outcome in outcomes}
    return 2 if FAILED in verdicts else 1 if MOVED in verdicts else 0


def frame(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """The table that a check prints, all strings."""
    return pd.DataFrame([row(outcome) for outcome in outcomes])


def row(o: Outcome) -> dict[str, str]:
    """One outcome, as text."""
    known, digits = o.reference.sample, o.digits
    now = Sample(o.values)
    return {
        "run": o.name,
        "reference": f"{known.mean:.{digits}f} ± {known.sd:.{digits}f}",
        "now": f"{now.mean:.{digits}f} (n = {now.n})" if now.n else "",
        "difference": f"{o.decision.difference:+.{digits}f}" if o.decision else "",
        "p": f"{o.decision.p:.2g}" if o.decision else "",
        "verdict": o.verdict,
        "": o.sentence,
    }


def method(outcomes: Sequence[Outcome], alpha: float) -> str:
    """What was done, and what p is held against."""
    limits = sorted({f"{o.design.critical_p:.2g}" for o in outcomes})
    return (
        "Reference: mean ± standard deviation over seeds. p: Wilcoxon-Mann-Whitney, two-sided, of "
        f"the last look; *moved* where it is at most {' or '.join(limits)}, so that at most "
        f"{alpha:.2%} of checks of unchanged code raise an alarm, on average over references, in "
        f"{len(outcomes)} runs together."
    )


def markdown(outcomes: Sequence[Outcome], alpha: float) -> str:
    """The check as a page."""
    from subspace_bench.reporting.render import markdown_table

    summary = {0: "within", 1: "moved", 2: "not all could be judged"}[exit_code(outcomes)]
    parts = [
        f"# Accuracy check: {summary}",
        markdown_table(frame(outcomes)),
        method(outcomes, alpha),
    ]
    return "\n\n".join(parts) + "\n"


def junit(outcomes: Sequence[Outcome]) -> str:
    """The check as JUnit XML, which CI services show."""
    kinds = {WITHIN: "", MOVED: "failure", FAILED: "error"}
    return junit_of([(o.name, kinds[o.verdict], o.sentence) for o in outcomes])


def junit_of(cases: Sequence[tuple[str, str, str]]) -> str:
    """JUnit XML of cases (name, "failure" or "error" or "", what to say of it)."""
    kinds = [kind for _, kind, _ in cases]
    suite = ElementTree.Element(
        "testsuite", name="accuracy", tests=str(len(cases)),
        failures=str(kinds.count("failure")), errors=str(kinds.count("error")),
    )  # fmt: skip
    for name, kind, said in cases:
        case = ElementTree.SubElement(suite, "testcase", classname="accuracy", name=name)
        if kind:
            ElementTree.SubElement(case, kind, message=NO_XML.sub("?", said))
    return ElementTree.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"
