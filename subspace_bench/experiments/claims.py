"""Every testable sentence of the post, with its criterion, evidence and verdict.

`published/claims.toml` has the criteria; `criteria.py` applies them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import pandas as pd
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from subspace_bench.experiments import published
from subspace_bench.experiments.criteria import EPOCHS, JUDGES, Claim, planned_seeds
from subspace_bench.experiments.study import Evidence, Plan, Study, make_page
from subspace_bench.records.config import RunConfig
from subspace_bench.reporting.figures import PageFigure
from subspace_bench.reporting.page import Page
from subspace_bench.reporting.statistics import FAILS, HOLDS, UNDECIDED, Sample
from subspace_bench.training import presets

DEPENDS = "depends on how it is read"  # the verdict of a sentence whose criteria disagree
TITLE = "Claims: the testable sentences of the post"


def cases(plan: Plan) -> list[RunConfig]:
    """The runs that claims need, with the planned seeds; only in the full profile."""
    if plan.profile != "full":
        return []
    nets = [presets.post("conv", d, EPOCHS) for d in (None, *dims())]
    nets += [presets.lite("cnn-10754"), presets.lite("cnn-10754", EPOCHS)]
    nets += [presets.lite("cnn-3369")]
    nets += [presets.post(m, d, 10) for m in ("conv", "fc") for d in presets.SMALL]
    return [
        run
        for net in nets
        for run in replace(plan, seeds=max(plan.seeds, planned_seeds(net))).expand([net])
    ]


def dims() -> list[int]:
    """Every d that a claim mentions."""
    claims = published.load("claims")["claim"]
    return sorted(
        {d for c in claims for d in [*c.get("dims", []), *([c["dim"]] if "dim" in c else [])]}
    )


def page(evidence: Evidence) -> Page:
    shown, rows, records = [], [], []
    claims = published.load("claims")["claim"]
    for number, claim in enumerate(claims, 1):
        ours, verdict, runs = judge(claim, evidence)
        local, local_verdict, _ = judge(claim, evidence, local=True)
        records.append(evidence.names(*runs))
        criterion = claim["criterion"]
        if "changed" in claim:
            criterion += f" [changed {claim['changed']}]"
        shown.append({"#": str(number), "the post": f"“{claim['sentence']}”",
                      "criterion": criterion, "verdict": verdict,
                      "local verdict": local_verdict})  # fmt: skip
        rows.append({"id": claim["id"], "evidence": ours, "verdict": verdict,
                     "local_evidence": local, "local_verdict": local_verdict})  # fmt: skip
    frame, data = pd.DataFrame(shown), pd.DataFrame(rows)
    evidence_groups = group_evidence(list(frame["the post"]), rows)
    local_verdicts = list(data["local_verdict"])
    by_sentence = frame.groupby("the post", sort=False)["verdict"].agg(set)
    verdicts = [v.pop() if len(v) == 1 else DEPENDS for v in by_sentence]
    summary = f"Of {len(verdicts)} sentences, {count_verdicts(verdicts)} ({len(data)} criteria)"
    if not any(local_verdicts):
        frame = frame.drop(columns="local verdict")
        data = data.drop(columns=["local_evidence", "local_verdict"])
    else:
        summary += f"; local: {count_verdicts(local_verdicts)}"
    figure = PageFigure(
        lambda: draw(evidence),
        "Test accuracy after 100 epochs over the number of free parameters: mean and range of all "
        "seeds, and the post's numbers",
    )
    return make_page(
        STUDY,
        evidence,
        summary,
        tables={"claims": frame},
        data=data,
        values={
            "evidence": evidence_groups,
            "fewest": published.load("claims")["seeds"]["fewest"],
            "verdicts": verdicts,
        },
        figures={"claims": figure},
        records={"claims": records},
    )


def group_evidence(
    sentences: Sequence[str], rows: Sequence[dict[str, str]]
) -> list[dict[str, str]]:
    """The evidence on each sentence, once for all of its criteria that share it."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for number, (sentence, row) in enumerate(zip(sentences, rows, strict=True), 1):
        key = sentence, row["evidence"], row["local_evidence"]
        groups.setdefault(key, []).append(str(number))
    return [
        {"numbers": ", ".join(numbers), "text": text, "local": local}
        for (_, text, local), numbers in groups.items()
    ]


def count_verdicts(verdicts: Sequence[str]) -> str:
    """The number of verdicts of each kind, as text."""
    forms = {HOLDS: (HOLDS, "hold"), FAILS: (FAILS, "do not hold"),
             UNDECIDED: (f"is {UNDECIDED}", f"are {UNDECIDED}"),
             DEPENDS: (DEPENDS, "depend on how they are read")}  # fmt: skip
    counts = {verdict: verdicts.count(verdict) for verdict in forms}
    return ", ".join(
        f"{count} {forms[verdict][count > 1]}" for verdict, count in counts.items() if count
    )


def judge(
    claim: Claim, evidence: Evidence, local: bool = False
) -> tuple[str, str, dict[RunConfig, int]]:
    """Evidence and verdict of one claim, and the number of seeds of each run that it looked at.

    For local records, evidence and verdict are "" if there are none.
    """
    seeds: dict[RunConfig, int] = {}

    def accuracies(run: RunConfig, updates: int | None = None) -> Sample:
        sample = evidence.sample(run, local, updates)
        seeds[run] = sample.n
        return sample

    text, verdict = JUDGES[claim["kind"]](claim, accuracies)
    return (text, verdict, seeds) if any(seeds.values()) or not local else ("", "", seeds)


def withheld(evidence: Evidence) -> str:
    """Why no claim can be decided: quick runs, or a dataset other than MNIST."""
    if evidence.quick:
        return "quick runs decide no claim: the page is not changed"
    return "" if evidence.comparable else "only runs on MNIST decide a claim: no page"


def draw(evidence: Evidence) -> Figure:
    """Accuracy after 100 epochs over d, with the thresholds of the claims."""
    figure, axes = plt.subplots(figsize=(7, 4))
    for local, mark, label in ((False, "o", "ours: mean, all seeds"), (True, "s", "local")):
        samples = {
            d or presets.native("conv"): evidence.sample(presets.post("conv", d, EPOCHS), local)
            for d in (*dims(), None)
        }
        samples = {d: sample for d, sample in samples.items() if sample.n}
        if not samples:
            continue
        means = [s.mean for s in samples.values()]
        low = [s.mean - min(s.values) for s in samples.values()]
        high = [max(s.values) - s.mean for s in samples.values()]
        axes.errorbar(list(samples), means, yerr=[low, high], fmt=mark, capsize=3, ms=4,
                      mfc="none" if local else None, label=label)  # fmt: skip
    table = published.load("post")["subspace"]["rows"]
    axes.plot([r["free"] for r in table], [r["accuracy"] for r in table], "kx", label="the post")
    full = evidence.sample(presets.post("conv", None, EPOCHS))
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


STUDY = Study("claims", TITLE, cases, page, withheld, order=50)
