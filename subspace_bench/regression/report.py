"""The report of a check: its table, markdown, and JUnit XML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from xml.etree import ElementTree

import pandas as pd

from subspace_bench.regression.check import NOT_JUDGED, Outcome, method, row
from subspace_bench.regression.sequential import CHANGED
from subspace_bench.reporting import render
from subspace_bench.reporting.page import Page

# Characters that XML 1.0 (section 2.2) does not allow, such as a terminal's colour codes.
NO_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def frame(outcomes: Sequence[Outcome]) -> pd.DataFrame:
    """The table of a check: one row per reference, all strings."""
    return pd.DataFrame([row(outcome) for outcome in outcomes])


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
