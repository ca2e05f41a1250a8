"""Claims: each is decided by its criterion, and only from enough seeds."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import numpy as np
from flat_records import record, records

from subspace_bench.experiments import Evidence, Plan, published
from subspace_bench.experiments import claims as study
from subspace_bench.experiments.criteria import JUDGES, planned_seeds
from subspace_bench.records.config import RunConfig
from subspace_bench.reporting.statistics import FAILS, HOLDS, UNDECIDED, Sample, difference
from subspace_bench.training import presets


def test_claims_are_decided_by_their_criteria() -> None:
    noise = np.array([-0.05, 0.0, 0.05, 0.02, -0.02])
    levels = {None: 98.9, 10_000: 98.7, 10_920: 98.6, 4_368: 97.5, 2_184: 96.0, 3_000: 97.2}
    runs = {presets.post("conv", d, 100): list(v + np.tile(noise, 10)) for d, v in levels.items()}
    runs[presets.lite("cnn-10754", 100)] = list(98.85 + np.tile(noise, 5))
    runs[presets.tutorial("2")] = list(99.0 + noise)
    runs[presets.lite("cnn-10754")] = list(97.6 + noise)
    evidence = Evidence(Plan(), records(runs))
    data = study.page(evidence).data.set_index("id")["verdict"]
    assert data["eliminate-50-90"] == FAILS
    assert data["10000-costs-0.2"] == HOLDS
    assert data["10000-beats-lite-as-printed"] == HOLDS
    assert data["10000-beats-lite-fairly"] == FAILS
    assert data["3000-gives-97"] == HOLDS
    assert data["1000-converges-to-93.5"] == UNDECIDED
    assert data["pytorch-notable-exception"] == FAILS
    assert data["pytorch-smallest-99"] == HOLDS


def test_wide_intervals_decide_no_claim() -> None:
    runs = {
        presets.post("conv", None, 100): [99.0, 97.0] * 6,
        presets.post("conv", 10_000, 100): [99.8, 95.8] * 6,
    }
    evidence = Evidence(Plan(), records(runs))
    data = study.page(evidence).data.set_index("id")["verdict"]
    assert data["10000-costs-0.2"] == UNDECIDED


def judged(runs: dict[RunConfig, list[float]], claim: str) -> tuple[str, str]:
    """Evidence and verdict of a claim from flat curves."""
    evidence = Evidence(Plan(), records(runs))
    row = study.page(evidence).data.set_index("id").loc[claim]
    return row["evidence"], row["verdict"]


def test_too_few_seeds_decide_no_claim_and_are_shown() -> None:
    noise = [-0.05, 0.0, 0.05, 0.02, -0.02]
    full, lite = presets.post("conv", None, 100), presets.lite("cnn-10754")

    def at(dim: int, seeds: int) -> dict[RunConfig, list[float]]:
        return {full: [98.9 + x for x in noise], lite: [97.6 + x for x in noise],
                presets.post("conv", dim, 100): [98.7 + x for x in noise[:seeds]]}  # fmt: skip

    beats = "10000-beats-lite-as-printed"
    text, verdict = judged(at(10_000, 1), beats)
    assert (text, verdict) == (
        "98.65 (n = 1) against 97.60 ± 0.05 (n = 5): ahead by 1.05 (n = 1 and 5), too few seeds",
        UNDECIDED,
    )
    assert judged(at(10_000, 4), beats)[1] == UNDECIDED
    assert judged(at(10_000, 5), beats)[1] == HOLDS


def test_planned_claims_are_decided_by_exactly_the_planned_seeds() -> None:
    run, claim = presets.post("conv", 3_000, 100), "3000-gives-97"
    values = [97.1, 97.2] * 10
    assert planned_seeds(run) == 20
    assert judged({run: values[:19]}, claim)[1] == UNDECIDED
    assert judged({run: values}, claim)[1] == HOLDS
    assert judged({run: [*values, 10.0, 10.0]}, claim) == judged({run: values}, claim)
    assert "19 of 20 planned" in judged({run: values[:19]}, claim)[0]


def test_the_full_profile_trains_the_planned_seeds() -> None:
    seeds = Counter(replace(run, seed=0) for run in study.cases(Plan("full", seeds=2)))
    assert seeds[presets.post("conv", None, 100)] == 48
    assert seeds[presets.post("conv", 10_920, 100)] == 5
    assert seeds[presets.lite("cnn-10754", 100)] == 24
    assert seeds[presets.lite("cnn-10754")] == 2  # ten epochs
    assert seeds[presets.post("conv", 4_368, 100)] == 2
    assert not study.cases(Plan("post"))


def test_evidence_is_shown_once_for_each_sentence() -> None:
    rows = [{"evidence": text, "local_evidence": ""} for text in ("a", "a", "a", "b")]
    groups = study.group_evidence(["one", "one", "two", "two"], rows)
    assert [(g["numbers"], g["text"]) for g in groups] == [("1, 2", "a"), ("3", "a"), ("4", "b")]


def test_dims_that_decide_together_share_the_95_percent() -> None:
    """A gap that is more than a point alone, but not corrected for three comparisons."""
    noise = np.array([-0.4, 0.4, 0.2, -0.2, 0.0])
    runs = {presets.post("conv", d, 100): list(98.9 - gap + noise)
            for d, gap in ((None, 0), (10_920, 0.1), (4_368, 0.2), (2_184, 1.5))}  # fmt: skip
    full, small = (Sample(tuple(runs[presets.post("conv", d, 100)])) for d in (None, 2_184))
    alone = difference(full, small)
    assert alone is not None
    assert alone.low > 1.0
    text, verdict = judged(runs, "eliminate-50-90")
    assert verdict == UNDECIDED
    assert "2,184 (90% fewer): 1.50 ± 0.60 (n = 5 and 5)" in text


def test_curves_are_equivalent_only_if_every_score_is() -> None:
    noise = [0.0, 0.1, -0.1, 0.05, -0.05]

    def verdict_for(gap: float = 0.0, bump: list[float] | None = None) -> str:
        given = []
        for dim in (*presets.SMALL, None):
            for seed, x in enumerate(noise):
                run = presets.post("conv", dim, 10)
                given.append(record(replace(run, seed=seed), 80.0 + x))
                fc = record(replace(presets.post("fc", dim, 10), seed=seed), 80.0 - gap + x)
                if bump and dim == 30:
                    fc.result["curve"][7][1] += bump[seed]
                given.append(fc)
        data = study.page(Evidence(Plan(), given)).data.set_index("id")["verdict"]
        return str(data["fc-and-conv-nearly-identical"])

    assert verdict_for() == HOLDS
    assert verdict_for(gap=5.0) == FAILS
    # One score whose mean is furthest apart, by noise: it settles nothing, and hides nothing.
    noisy = [0.0, 30.0, -10.0, 20.0, 5.0]
    assert verdict_for(bump=noisy) == UNDECIDED
    assert verdict_for(gap=2.0, bump=noisy) == FAILS


def test_claims_are_judged_by_local_runs_too() -> None:
    runs = {presets.lite("cnn-3369"): [95.5, 95.6, 95.7, 95.5, 95.6],
            presets.lite("cnn-10754"): [97.6]}  # fmt: skip
    page = study.page(Evidence(Plan(), None, records(runs)))
    rows = page.data.set_index("id")
    assert rows.loc["95-with-fewer-than-10000", "verdict"] == UNDECIDED
    assert rows.loc["95-with-fewer-than-10000", "local_verdict"] == HOLDS
    assert "97.60 (n = 1)" in rows.loc["10000-beats-lite-as-printed", "local_evidence"]
    assert rows.loc["3000-gives-97", "local_verdict"] == ""
    assert page.summary.endswith(f"local: {study.count_verdicts([HOLDS, UNDECIDED])}")
    assert "local_verdict" not in study.page(Evidence(Plan())).data


def test_every_claim_has_a_judge() -> None:
    assert {claim["kind"] for claim in published.load("claims")["claim"]} == set(JUDGES)


def test_quick_runs_and_other_digits_decide_no_claim() -> None:
    assert study.withheld(Evidence(Plan("quick")))
    assert study.withheld(Evidence(Plan(dataset="mnist-5k")))
    assert not study.withheld(Evidence(Plan()))
