"""What the index says of all pages, and the notebook's outputs beside the author's draws."""

from __future__ import annotations

from flat_records import records

from subspace_bench.experiments import Evidence, Plan, subspace
from subspace_bench.experiments.findings import findings
from subspace_bench.experiments.subspace import LIES, author_run
from subspace_bench.reporting.statistics import REPRODUCES, TOO_FEW
from subspace_bench.training import presets

SPREAD = (-0.1, 0.0, 0.1, 0.05, -0.05)


def test_every_published_accuracy_is_counted() -> None:
    values, tables = findings([])
    assert values["reproduced"].startswith("0 of 31 ")
    assert values["sentences"] == "10"
    assert list(tables["published"]["verdicts"])[:2] == [
        "5 of 9 are right",
        "0 of 9 published accuracies reproduce, 9 have too few seeds to tell",
    ]


def test_a_number_that_misses_is_named_with_ours() -> None:
    given = {presets.lite("mlp-16"): [90.0 + x for x in SPREAD],
             presets.lite("mlp-32"): [96.5 + x for x in SPREAD]}  # fmt: skip
    values, tables = findings(records(given))
    assert values["reproduced"].startswith("1 of 31 ")
    assert values["reproduced"].endswith("12,730 parameters has 90.00% (published 94.5)")
    row = tables["published"].set_index("the post's").loc["accuracies of MNIST-lite nets"]
    assert row["page"] == "[mnist-lite](mnist-lite.md)"


def test_the_notebooks_outputs_are_held_against_one_more_run_from_the_authors_draws() -> None:
    given = {author_run(None): [98.9, 98.8, 99.0], author_run(10_000): [98.0, 98.1, 97.9],
             author_run(3_000): [97.0, 97.1],
             presets.post("conv", 1_000, 100): [93.5 + x for x in SPREAD]}  # fmt: skip
    page = subspace.page(Evidence(Plan(), records(given)))
    frame = page.tables["notebook"]
    assert list(frame[LIES]) == ["inside", "outside", "", ""]
    assert list(frame["95% of further runs"])[2:] == [TOO_FEW, TOO_FEW]
    assert list(page.tables["accuracies"]["verdict"]) == ["", "", "", REPRODUCES]
    assert "local" not in frame
