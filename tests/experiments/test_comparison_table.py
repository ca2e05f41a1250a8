"""Rows that compare a published number with our records and with local ones."""

from __future__ import annotations

import pandas as pd
import pytest
from flat_records import record, records
from matplotlib import pyplot as plt

from subspace_bench.experiments import STUDIES, Evidence, Page, Plan
from subspace_bench.experiments.comparison_table import reproduction
from subspace_bench.experiments.curves import Curve, draw_curves
from subspace_bench.records.config import RunConfig
from subspace_bench.reporting.statistics import DOES_NOT, REPRODUCES, TOO_FEW
from subspace_bench.training import presets

RUN = presets.lite("mlp-16")
SPREAD = [-0.2, -0.1, 0.0, 0.1, 0.2]
TWO_NETS = {RUN: [94.5 + s for s in SPREAD], presets.lite("mlp-32"): [90.0 + s for s in SPREAD]}


def lite(
    ours: dict[RunConfig, list[float]] | None = None,
    local: dict[RunConfig, list[float]] | None = None,
) -> Page:
    evidence = Evidence(Plan(), records(ours or {}), None if local is None else records(local))
    return STUDIES["mnist-lite"].page(evidence)


def shown(page: Page) -> pd.DataFrame:
    return next(iter(page.tables.values()))


def test_verdicts_need_five_seeds() -> None:
    page = lite({**TWO_NETS, presets.lite("cnn-3369"): [95.6, 95.5],
                 presets.lite("cnn-10754"): [97.6]})  # fmt: skip
    frame = shown(page)
    assert list(frame["verdict"]) == [REPRODUCES, DOES_NOT, TOO_FEW, TOO_FEW]
    assert frame["ours"][0] == "94.50 ± 0.20 (n = 5)"
    assert frame["ours"][3] == "97.60 (n = 1)"
    assert page.values["judged"] == 2
    assert page.values["by_chance"] == "0.1"


def test_local_runs_are_compared_with_ours_by_their_bits_or_their_range() -> None:
    frame = shown(lite({RUN: [94.4, 94.5, 94.6]}, {RUN: [94.5], presets.lite("mlp-32"): [96.0]}))
    assert frame["local"][0] == "94.50 (n = 1)"
    assert frame["local vs ours"][0] == "+0.10, inside"
    assert frame["local vs ours"][1] == ""
    assert "local verdict" not in frame
    frame = shown(lite({RUN: [94.4, 94.5, 94.6]}, {RUN: [94.4, 94.5, 94.6, 94.55, 97.0]}))
    assert frame["local vs ours"][0] == "3 same bits; 1 inside; 1 outside"


def test_the_same_number_with_other_bits_is_not_the_same() -> None:
    other = record(RUN, 94.5)
    other.result["curve"][0][2] = 0.2
    page = STUDIES["mnist-lite"].page(Evidence(Plan(), records({RUN: [94.5]}), [other]))
    assert shown(page)["local vs ours"][0] == "+0.00, other bits"
    frame = shown(lite({RUN: [94.5, 94.6, 94.4]}, {RUN: [97.0]}))
    assert frame["local vs ours"][0] == "+2.50, outside"


def test_local_verdicts_stand_in_the_table_the_csv_and_the_summary() -> None:
    page = lite(None, TWO_NETS)
    assert list(shown(page)["local verdict"]) == [REPRODUCES, DOES_NOT, "", ""]
    assert list(page.data["local_verdict"]) == [REPRODUCES, DOES_NOT, "", ""]
    assert page.data["local_mean"][0] == pytest.approx(94.5)
    assert page.summary.endswith(reproduction([REPRODUCES, DOES_NOT, "", ""]))


def test_local_columns_appear_only_where_there_are_local_runs() -> None:
    evidence = Evidence(Plan(), None, records({RUN: [94.5]}))
    page = STUDIES["mnist-lite"].page(evidence)
    assert "local" in shown(page)
    page = STUDIES["subspace"].page(evidence)
    assert not {"local", "local verdict", "local vs ours"}.intersection(shown(page))
    assert not [column for column in page.data if column.startswith("local_")]


def test_the_summary_counts_every_verdict_once() -> None:
    assert reproduction([REPRODUCES] * 4) == "All 4 published accuracies reproduce"
    text = reproduction([REPRODUCES, DOES_NOT, DOES_NOT, TOO_FEW, ""])
    assert text.startswith("1 of 5 ")
    assert [int(word) for word in text.split() if word.isdigit()] == [1, 5, 2, 2]


def test_a_row_that_the_post_does_not_have_is_counted_apart() -> None:
    spread = [-0.02, -0.01, 0.0, 0.01, 0.02]
    given = {presets.tutorial("4b"): [99.1 + s for s in spread],
             presets.tutorial("2"): [98.6 + s for s in spread]}  # fmt: skip
    page = STUDIES["tutorials"].page(Evidence(Plan(), records(given)))
    assert reproduction([REPRODUCES] + [""] * 8) in page.summary
    assert page.values["judged"] == 2
    two = shown(page).set_index("#").loc["2"]
    assert two["claimed accuracy"] == "99% (98.5–99.5)"
    assert two["verdict"] == REPRODUCES
    assert page.values["as_printed"] == DOES_NOT  # the post prints 99.0


def test_a_diverged_run_is_counted_beside_the_accuracies() -> None:
    lost = record(RUN, 94.5)
    lost.result.update(curve=[], diverged=100)
    page = STUDIES["mnist-lite"].page(Evidence(Plan(), [lost]))
    assert shown(page)["ours"][0] == "1 diverged"


def test_quick_runs_are_compared_with_the_published_curve_at_the_same_step() -> None:
    run = presets.post("conv", 1_000, 10, "normal:0.01", "author")
    plan = Plan(profile="quick")
    short = plan.adapt(run)
    assert short is not None
    page = STUDIES["ultra-small"].page(
        Evidence(plan, records({run: [70.0]}), records({short: [82.0]}))
    )
    frame = shown(page)
    assert frame["ours"][0] == "not run"
    row = frame[(frame["net"] == "conv") & (frame["d"] == "1,000")].iloc[0]
    assert row["post"] == "84.4"  # of the published figure at step 1,000
    assert row["ours"] == "70.00 (n = 1)"
    assert row["local"] == "82.00 (n = 1)"
    assert "verdict" not in frame
    assert len(page.notices) == 1
    assert "2.4" in page.summary  # points: 84.4 − 82


def test_other_digits_than_mnist_get_no_verdicts() -> None:
    run = presets.lite("mlp-16")
    plan = Plan(dataset="mnist-5k")
    adapted = plan.adapt(run)
    assert adapted is not None
    page = STUDIES["mnist-lite"].page(
        Evidence(
            plan, records({run: [94.5, 94.6]}), records({adapted: [88.0, 88.5, 87.9, 88.1, 88.0]})
        )
    )
    frame = shown(page)
    assert set(frame["verdict"]) == {""}
    assert frame["local"][0].startswith("88.10")
    assert set(frame["ours"]) == {"not run"}
    assert len(page.notices) == 1


def test_figures_show_ours_and_local_runs_apart() -> None:
    run = presets.post("conv", 1_000, 100)
    evidence = Evidence(Plan(), records({run: [93.0, 93.2]}), records({run: [92.0]}))
    figure, axes = plt.subplots()
    draw_curves(axes, [Curve("d = 1,000", run)], evidence)
    solid, dashed = axes.get_lines()
    assert solid.get_ydata()[-1] == pytest.approx(93.1)
    assert dashed.get_ydata()[-1] == 92.0
    assert dashed.is_dashed()
    assert not solid.is_dashed()
    assert len(axes.get_legend().get_texts()) == 4  # d, the post, all our seeds, local
    plt.close(figure)
