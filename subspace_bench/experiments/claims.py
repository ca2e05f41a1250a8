"""Every testable sentence of the post, its criterion, the evidence and a verdict.

The criteria stand in `published/claims.toml`; `criteria.py` judges by them.
"""

from __future__ import annotations

from functools import partial

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from subspace_bench.experiments import published
from subspace_bench.experiments.comparison_table import counted
from subspace_bench.experiments.criteria import EPOCHS, JUDGES, Claim, Judged, conv
from subspace_bench.experiments.legacy_page import Page
from subspace_bench.experiments.study import Evidence, Plan, Study
from subspace_bench.records.config import RunConfig
from subspace_bench.reporting.statistics import FAILS, HOLDS, UNDECIDED, Sample
from subspace_bench.training import presets

TITLE = "Claims: the testable sentences of the post"
OWN = "this machine"
NAMES = {  # of verdicts, for one and for several
    HOLDS: ("holds", "hold"),
    FAILS: ("does not", "do not"),
    UNDECIDED: ("not decidable yet", "not decidable yet"),
}


def runs(plan: Plan) -> list[RunConfig]:
    """What the claims need beyond the other tables; only the full profile trains these."""
    if plan.profile != "full":
        return []
    nets = [presets.post("conv", d, EPOCHS) for d in (None, *dims())]
    nets += [presets.lite("cnn-10754"), presets.lite("cnn-10754", EPOCHS)]
    nets += [presets.lite("cnn-3369")]
    nets += [presets.post(m, d, 10) for m in ("conv", "fc") for d in presets.SMALL]
    return plan.all_seeds(nets)


def dims() -> list[int]:
    """Every d that a claim speaks of."""
    claims = published.load("claims")["claim"]
    return sorted(
        {d for c in claims for d in [*c.get("dims", []), *([c["dim"]] if "dim" in c else [])]}
    )


def page(evidence: Evidence) -> Page:
    shown, numbers = [], []
    for claim in published.load("claims")["claim"]:
        found, said = judge(claim, evidence, own=False)
        mine, own_said = judge(claim, evidence, own=True)
        criterion = claim["criterion"]
        if "changed" in claim:
            criterion += f" [changed {claim['changed']}]"
        shown.append({"the post": f"“{claim['sentence']}”", "criterion": criterion,
                      "evidence": found, "verdict": said,
                      OWN: mine, "its verdict": own_said})  # fmt: skip
        numbers.append({"id": claim["id"], "evidence": found, "verdict": said,
                        "own_evidence": mine, "own_verdict": own_said})  # fmt: skip
    frame, data = pd.DataFrame(shown), pd.DataFrame(numbers)
    sentences = frame["the post"].nunique()
    summary = f"{sentences} sentences, judged by {len(data)} criteria: "
    summary += counted(list(data["verdict"]), NAMES)
    own_verdicts = list(data["own_verdict"])
    if not any(own_verdicts):
        frame = frame.drop(columns=[OWN, "its verdict"])
        data = data.drop(columns=["own_evidence", "own_verdict"])
    elif {HOLDS, FAILS}.intersection(own_verdicts):
        summary += f"; {OWN}: {counted(own_verdicts, NAMES)}"
    figures = {"claims": lambda: draw(evidence)}
    return Page(TITLE, [OPENING], frame, data, NOTES, summary, figures)


def judge(claim: Claim, evidence: Evidence, own: bool) -> Judged:
    """Evidence and verdict of one claim; of the reader's own runs "" where there are none of it."""
    seeds = []

    def look(run: RunConfig, updates: int | None = None) -> Sample:
        sample = evidence.sample(run, own, updates)
        seeds.append(sample.n)
        return sample

    judged = JUDGES[claim["kind"]](claim, look)
    return judged if any(seeds) or not own else ("", "")


def withheld(evidence: Evidence) -> str:
    """Quick runs and other images than MNIST's decide no claim."""
    if evidence.quick:
        return "quick runs decide no claim, so its page is left as it is"
    return "" if evidence.comparable else "only runs on MNIST decide a claim: no page"


def draw(evidence: Evidence) -> Figure:
    """Accuracy after 100 epochs over d, with the lines that the claims speak of."""
    figure, axes = plt.subplots(figsize=(7, 4))
    full = conv(partial(evidence.sample, own=False), None)
    for own, mark, label in (
        (False, "o", "reference: mean, all seeds"),
        (True, "s", OWN),
    ):
        look = partial(evidence.sample, own=own)
        samples = {d or presets.native("conv"): conv(look, d) for d in (*dims(), None)}
        samples = {d: sample for d, sample in samples.items() if sample.n}
        if not samples:
            continue
        means = [s.mean for s in samples.values()]
        low = [s.mean - min(s.values) for s in samples.values()]
        high = [max(s.values) - s.mean for s in samples.values()]
        axes.errorbar(list(samples), means, yerr=[low, high], fmt=mark, capsize=3, ms=4,
                      mfc="none" if own else None, label=label)  # fmt: skip
    table = published.load("post")["subspace"]["rows"]
    axes.plot([r["free"] for r in table], [r["accuracy"] for r in table], "kx", label="the post")
    for gap, style in ((1, "--"), (2, ":")) if full.n else ():
        axes.axhline(full.mean - gap, color="0.5", ls=style, lw=1,
                     label=f"D − {gap} point{'s'[: gap - 1]}")  # fmt: skip
    axes.set_xscale("log")
    ticks = [*dims(), presets.native("conv")]
    axes.set_xticks(ticks, [f"{t:,}" for t in ticks], rotation=60, ha="right", fontsize=8)
    axes.minorticks_off()
    axes.set_xlabel("free parameters")
    axes.set_ylabel("test accuracy after 100 epochs, %")
    axes.legend(loc="lower right")
    return figure


OPENING = (
    "The criteria stand in `subspace_bench/published/claims.toml`, which says when each was "
    "written or changed, and what had been trained by then. Evidence is from the reference "
    "records: means with 95% intervals over seeds, differences by Welch; where one of several "
    "intervals decides a claim, they share the 95% (Bonferroni). *Not decidable yet* means that "
    "an interval holds the threshold, or that seeds are too few: a verdict asks for {fewest} on "
    "either side, {long} at d ≥ {long_from:,}, where one takes half an hour. Criteria made "
    "stricter after first seeds had been seen are marked."
).format(**published.load("claims")["seeds"])
NOTES = [
    "The post also quotes Li et al. that cart-pole is 100 times easier than MNIST; that is a claim "
    "about reinforcement learning, not about the post's own runs, and is not tested on this page.",
]
STUDY = Study("claims", TITLE, runs, page, withheld)
