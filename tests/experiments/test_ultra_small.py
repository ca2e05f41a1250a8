"""Which start made the ten-epoch figures: decided by the criterion, from all of its seeds."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from flat_records import record

from subspace_bench.experiments import Evidence, Plan, initial_sigma, ultra_small
from subspace_bench.experiments.initial_sigma import CurveFit, Decision, decide, show_close
from subspace_bench.experiments.ultra_small import (
    CONV,
    CONV_CODE,
    DIMS,
    FC,
    FC_FRESH,
    Start,
    cases,
    fc_start,
    published_points,
)
from subspace_bench.records.config import RunConfig
from subspace_bench.records.store import Record
from subspace_bench.reporting.statistics import DOES_NOT, REPRODUCES, TOO_FEW


def noisy(run: RunConfig, levels: dict[int, float], seeds: int, shift: float = 0.0) -> list[Record]:
    """Records that score `levels` by step, plus noise of half a point, plus `shift`."""
    rng = np.random.default_rng(run.dim or 0)
    made = []
    for seed in range(seeds):
        one = record(replace(run, seed=seed), 50.0)
        offset = float(rng.normal(0, 0.5))
        for row in one.result["curve"]:
            level = levels.get(row[0] - 1, math.nan)
            row[1] = round((50.0 if math.isnan(level) else level) + shift + offset, 2)
        made.append(one)
    return made


def of_candidates(shifts: dict[float, float], seeds: int = 5) -> list[Record]:
    """Records of each σ around the published conv curves, shifted by some points."""
    return [
        one
        for sigma, shift in shifts.items()
        for dim, (steps, values) in published_points("conv").items()
        for one in noisy(
            initial_sigma.candidate_run(sigma, dim),
            dict(zip(steps, values, strict=True)),
            seeds,
            shift,
        )
    ]


def decision_of(records: list[Record]) -> Decision:
    return decide(Evidence(Plan(), records), published_points("conv"))


def test_the_sigma_whose_runs_are_like_the_figure_made_it() -> None:
    found = decision_of(of_candidates({0.005: 6.0, 0.007: -4.0, 0.01: 0.0, 0.014: 4.0}))
    assert found.sigma == 0.01
    assert found.likely == (0.01,)
    assert np.trace(found.recovered) == found.recovered.sum() == 20
    assert found.points == {
        d: sum(not math.isnan(v) for v in c[1])
        for d, c in zip(found.points, published_points("conv").values(), strict=True)
    }
    frame = initial_sigma.table(found).set_index("d")
    assert frame.loc["together", "within the margin"] == "0.01"
    assert len(found.own[0.01]) == 5


def test_candidates_that_fit_equally_well_may_both_have_made_it() -> None:
    found = decision_of(of_candidates({0.005: 9.0, 0.007: 0.0, 0.01: 0.0, 0.014: 9.0}))
    assert found.sigma is None
    assert set(found.likely) == {0.007, 0.01}


def test_nothing_is_decided_before_every_candidate_has_its_seeds() -> None:
    records = of_candidates({0.005: 6.0, 0.01: 0.0, 0.014: 4.0})
    late = of_candidates({0.007: -4.0}, seeds=4)
    found = decision_of([*records, *late])
    assert found.sigma is None
    assert not found.likely
    assert set(found.sums) == {0.005, 0.01, 0.014}
    assert set(initial_sigma.table(found)["σ = 0.007"]) == {TOO_FEW}


def test_seeds_beyond_the_criterions_number_are_not_used() -> None:
    shifts = {0.005: 6.0, 0.007: -4.0, 0.01: 0.0, 0.014: 4.0}
    more = decision_of(of_candidates(shifts, seeds=7))
    assert more.sums == decision_of(of_candidates(shifts, seeds=5)).sums


def test_candidates_within_the_margin() -> None:
    assert show_close({0.005: -10.0, 0.007: -5.0, 0.01: -1.0, 0.014: 0.0}) == "0.01, 0.014"
    assert show_close({0.005: 0.0, 0.007: 0.0, 0.01: 0.0, 0.014: 0.0}) == "all"
    assert show_close({}) == ""


def test_a_number_is_judged_from_the_authors_draws_and_beside_the_published_code() -> None:
    spread = [-0.2, -0.1, 0.0, 0.1, 0.2]
    records = [
        record(replace(start.run(dim), seed=seed), level + x)
        for start, dim, level in ((CONV, 30, 31.1), (CONV_CODE, 30, 12.0), (FC_FRESH, 30, 25.0))
        for seed, x in enumerate(spread)
    ]
    page = ultra_small.page(Evidence(Plan(), records))
    conv = page.tables["conv"].set_index("d").loc["30"]
    assert (conv[CONV.verdict], conv[CONV_CODE.verdict]) == (REPRODUCES, DOES_NOT)
    assert page.tables["fc"].set_index("d").loc["30", FC_FRESH.verdict] == DOES_NOT
    assert [c.verdict for c in page.values["comparisons"]].count(DOES_NOT) == 1  # not the code's
    assert len(page.values["comparisons"]) == 14
    assert page.values["judged"] == 2
    assert "fc at d = 30 has 25.00% (published 21.3)" in page.summary
    assert "local" not in page.tables


def test_the_fc_numbers_are_judged_from_the_draws_that_fit_its_curves() -> None:
    def main(author: float, fresh: float) -> Start:
        fits = {(start, dim): CurveFit(value, 0.5)
                for start, value in ((FC, author), (FC_FRESH, fresh)) for dim in DIMS}  # fmt: skip
        return fc_start(fits)

    assert main(-10.0, -11.0) is FC  # leads by 7 · 1
    assert main(-10.0, -10.1) is FC_FRESH
    assert main(-12.0, -10.0) is FC_FRESH
    assert fc_start({(FC, dim): CurveFit(-10.0, 0.5) for dim in DIMS}) is FC
    assert fc_start({}) is FC_FRESH


def test_local_runs_of_any_start_are_listed() -> None:
    local = [record(CONV.run(30), 20.0), record(CONV_CODE.run(10), 11.35)]
    page = ultra_small.page(Evidence(Plan(), None, local))
    frame = next(iter(page.tables.values()))
    assert list(frame["local"]) == ["20.00 (n = 1)", "11.35 (n = 1)"]
    assert list(frame["start"]) == [CONV.label, CONV_CODE.label]


@pytest.mark.parametrize(
    ("profile", "sigmas", "starts"),
    [("quick", 1, 2), ("post", 2, 3), ("full", len(initial_sigma.candidates()), 8)],
)
def test_profiles_train_the_starts_that_their_pages_show(
    profile: str, sigmas: int, starts: int
) -> None:
    runs = cases(Plan(profile))
    author = {run.init for run in runs if run.model == "conv" and run.draws == "author"}
    assert len(author) == sigmas
    assert len({(run.model, run.init, run.draws) for run in runs}) == starts
