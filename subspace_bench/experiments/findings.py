"""What the whole reproduction found: values for the index of pages, by the committed records."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pandas as pd

from subspace_bench.experiments import claims, mnist_lite, subspace, tutorials, ultra_small
from subspace_bench.experiments.comparison_table import Comparison, reproduction, show_missed
from subspace_bench.experiments.study import Evidence, Plan
from subspace_bench.records.store import Record
from subspace_bench.reporting.page import Page

MODULES = (tutorials, mnist_lite, subspace, ultra_small, claims)
MIN_P = 0.05  # a published curve with a smaller p-value does not reproduce


def findings(committed: Iterable[Record]) -> tuple[dict[str, str], dict[str, pd.DataFrame]]:
    """Values and tables of the template `README.md.j2`, whatever was trained locally."""
    evidence = Evidence(Plan(), committed)
    return findings_of({module.STUDY.name: module.STUDY.page(evidence) for module in MODULES})


def findings_of(pages: Mapping[str, Page]) -> tuple[dict[str, str], dict[str, pd.DataFrame]]:
    """The same from pages of committed records, which `MODULES` made."""
    names = [module.STUDY.name for module in MODULES]
    compared = [c for name in names for c in pages[name].values.get("comparisons", ())]
    missed = show_missed(compared)
    verdicts = pages["claims"].values["verdicts"]
    values = {
        "reproduced": reproduction([c.verdict for c in compared]) + (missed and f": {missed}"),
        "counts": counts(pages["tutorials"]).replace("are", "parameter counts are"),
        "conv_figure": pages["ultra-small"].values["conv_figure"],
        "sentences": f"{len(verdicts)}",
        "claims": claims.count_verdicts(verdicts),
    }
    return values, {"published": coverage(pages)}


def coverage(pages: Mapping[str, Page]) -> pd.DataFrame:
    """Every kind of number that the post publishes, and what became of it."""
    rows = [
        ("parameter counts of tutorials", "tutorials", counts(pages["tutorials"])),
        ("accuracies of tutorials", "tutorials", found(pages["tutorials"])),
        ("accuracies of MNIST-lite nets", "mnist-lite", found(pages["mnist-lite"])),
        ("accuracies after 100 epochs", "subspace", found(pages["subspace"])),
        ("outputs stored in its notebook", "subspace", notebook(pages["subspace"])),
        ("100-epoch curves", "subspace", curves(pages["subspace"])),
        ("ends of the ten-epoch curves", "ultra-small", found(pages["ultra-small"])),
        ("ten-epoch curves", "ultra-small", curves(pages["ultra-small"])),
        ("testable sentences", "claims", claims.count_verdicts(pages["claims"].values["verdicts"])),
        ("Li et al.: cart-pole 100 times easier", "cart-pole", "depends on the method of training"),
        ("ResNets and VGGs also have too many parameters", "bloat", "both that were measured do"),
    ]
    return pd.DataFrame(
        {"the post's": what, "verdicts": text, "page": f"[{name}]({name}.md)"}
        for what, name, text in rows
    )


def found(page: Page) -> str:
    comparisons: list[Comparison] = page.values["comparisons"]
    return reproduction([c.verdict for c in comparisons])


def counts(page: Page) -> str:
    total, wrong = len(page.values["comparisons"]), len(page.values["wrong"])
    return f"{total - wrong} of {total} are right"


def notebook(page: Page) -> str:
    """How many of the notebook's numbers lie in our prediction intervals."""
    cells = list(page.tables["notebook"][subspace.LIES])
    waiting = cells.count("")
    text = f"{cells.count('inside')} of {len(cells)} inside the 95% interval of one more run"
    return f"{text}, {waiting} with too few seeds" if waiting else text


def curves(page: Page) -> str:
    """How many published curves could be one more run of ours."""
    fits = page.values["fits"]
    known = [fit for fit in fits if fit is not None]
    text = f"{sum(fit.p >= MIN_P for fit in known)} of {len(fits)} reproduce (p ≥ {MIN_P})"
    waiting = len(fits) - len(known)
    return f"{text}, {waiting} with too few seeds" if waiting else text
