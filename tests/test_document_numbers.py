"""Measured numbers in the README and in docs/ are those of the committed results."""

from __future__ import annotations

import csv
import re
from dataclasses import replace

import pytest
from committed_files import ROOT, committed

from subspace_bench.records.store import Record
from subspace_bench.regression.sequential import FUTILITY_P, STAGES
from subspace_bench.regression.suite import runs
from subspace_bench.training import presets

SEARCH, CHECK = "dimension-search.md", "regression.md"
RATES, PEERS, SIZES = "learning-rates.md", "peers.md", "projectors-cpu.md"
COVERED = r"its 95% interval covers the truth in (\S+)%"
SHARED = r"one peak rate of Adam, (\S+), is within 1 point of the best rate in (\d+) of (\d+) "
CONSTANT = r"adam, constant +\| \S+ to \S+ +\| (\S+)"
SGD = r"sgd, one-cycle +\| (\S+) to (\S+)"
OVER_LORA = r"over LoRA's factors, r = 32 \|.*\| \+(\S+) \["
HUNDRED = r"\b100 numbers reach (\S+)% with any net"
THOUSAND = r"1,000 numbers reach (\S+)% with any net"
MUTATIONS = r"Of (\d+) mutations above the minimum detectable effect, (\d+)"

# Document, its sentence, and the page with the pattern whose groups are the sentence's numbers.
SENTENCES = [
    ("README.md", "In {1} of {2} combinations of net, projector and d ≥ 100, {0}", RATES, SHARED),
    ("README.md", "{} at the peak of `OneCycleLR`", RATES, SHARED),
    ("README.md", "or a constant {}.", RATES, CONSTANT),
    ("docs/subspace.md", "start with {} at the peak of `OneCycleLR`", RATES, SHARED),
    ("docs/subspace.md", "or with a constant {}.", RATES, CONSTANT),
    ("docs/subspace.md", "needs peaks of {} to {},", RATES, SGD),
    ("docs/subspace.md", "it is {} points more accurate", PEERS, OVER_LORA),
    (
        "docs/projectors.md",
        "lists the fastest for each of {} sizes",
        SIZES,
        r"at \d+ of (\d+) sizes",
    ),
    ("docs/dimension.md", "the truth in {}% of searches", SEARCH, COVERED),
    ("docs/statistics.md", "the truth in {}% of searches", SEARCH, COVERED),
    ("docs/limits.md", "{}% instead of 95% in simulations", SEARCH, COVERED),
    ("docs/statistics.md", "error rate ({})", CHECK, r"False-positive rate (\S+%)"),
    ("docs/statistics.md", "({1} of {0} planted faults", CHECK, MUTATIONS),
    (
        "results/claims.md",
        "1,000 weights of the post's net (95% fewer) reach {}%",
        "leaderboard.md",
        r"1,000 numbers reach (\S+)% with the post's",
    ),
    (
        "results/claims.md",
        "weights pruned under an L1 penalty reach {}%",
        "sparsity.md",
        r"\| L1 penalty, pruned while it trains +\| [^|]+\| [^|]+\| (\S+) ±",
    ),
    (
        "results/claims.md",
        "coordinates in a random subspace {}%",
        "sparsity.md",
        r"\| subspace, hashed P +\| [^|]+\| [^|]+\| (\S+) ±",
    ),
    (
        "results/claims.md",
        "against all 21,840, which reach {}%",
        "sparsity.md",
        r"\| no penalty, largest k .*\| (\S+) ± \S+; 87,360 B",
    ),
    (
        "results/claims.md",
        "trained as in the post, reach {}%",
        "subspace.md",
        r"\| 21,840 +\| 99.0 +\| (\S+) ±",
    ),
    (
        "README.md",
        "100 numbers reach {}%",
        "leaderboard.md",
        HUNDRED,
    ),
    (
        "README.md",
        "No: on our leaderboard, 1,000 numbers reach {}%",
        "leaderboard.md",
        THOUSAND,
    ),
    ("docs/statistics.md", "among {} numbers", "README.md", r"of (\d+) published accuracies"),
]


def prose(document: str) -> str:
    return " ".join((ROOT / document).read_text(encoding="utf-8").split())


@pytest.mark.parametrize("document, sentence, page, pattern", SENTENCES)
def test_a_sentence_has_the_numbers_of_its_page(
    document: str, sentence: str, page: str, pattern: str
) -> None:
    found = re.search(pattern, committed(f"results/{page}").decode())
    assert found, f"results/{page} has no such numbers"
    assert sentence.format(*found.groups()) in prose(document)


def test_parts_of_pages_in_the_readme_are_those_of_the_pages() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    parts = re.findall(r"<!-- (results/\S+) -->\n\n(.*?)\n\n<!-- / -->", text, re.DOTALL)
    assert len(parts) == 2
    for path, part in parts:
        page = committed(path).decode().splitlines()
        assert len(part.splitlines()) >= 2
        assert set(part.splitlines()) <= set(page)


def test_the_row_that_is_explained_is_that_of_the_page() -> None:
    *_, last = csv.DictReader(committed("results/subspace.csv").decode().splitlines())
    text = prose("docs/reading.md")
    low, high = (round(float(last[f"expected_{end}"]), 1) for end in ("low", "high"))
    assert f"lie between {low} and {high}" in text
    row = f"{int(last['free parameters']):,} | {last['post_low']} | {float(last['ours_mean']):.2f}"
    assert f"| {row} " in text


def test_updates_until_the_plateau_is_left_are_those_of_the_records(
    committed_records: list[Record],
) -> None:
    curves = {record.run: record.result["curve"] for record in committed_records}

    def left(dim: int | None) -> list[int]:
        run = presets.post("conv", dim, 10)
        found = [curves[replace(run, seed=seed)] for seed in range(8)]
        first = (next((u for u, accuracy, _ in c if accuracy > 20), None) for c in found)
        return [u - 1 for u in first if u is not None]

    row = [
        cell.strip() for cell in prose("docs/reproduce.md").split("| 100 updates |")[1].split("|")
    ]
    spans = [f"{min(left(dim)):,} to {max(left(dim)):,}" for dim in (1000, 300, 100)]
    assert set(left(None)) == {100}
    assert row[:3] == spans
    assert not left(30) + left(10) + left(3)


def test_advice_on_projectors_is_that_of_the_table() -> None:
    _, section, *_ = committed("results/projectors-cpu.md").decode().split("\n## ")
    rows = [
        [cell.strip() for cell in line.split("|")[1:-1]]
        for line in section.splitlines()
        if re.match(r"\| [\d,]+ +\| [\d,]+ +\| [a-z]", line)
    ]
    sizes = [(int(r[0].replace(",", "")), int(r[1].replace(",", "")), r[2], r[5]) for r in rows]
    assert all(t == "fastfood" for D, d, t, _ in sizes if D < 200_000 and d >= 10_000)
    for D, d, taken, second in sizes:
        if d == 10:
            best = "gaussian-bf16" if D < 10**5 else "regenerated-signs"
            assert best in (taken, second.partition(":")[0])


def test_numbers_of_the_design_are_those_of_the_code() -> None:
    assert STAGES == (2, 4, 8, 16)
    assert "after 2, 4, 8 and 16 new values" in prose("docs/statistics.md")
    assert f"({', '.join(map(str, FUTILITY_P))})" in prose("docs/statistics.md")
    assert len(runs()) == 6
    assert "compares six short trainings" in prose("docs/accuracy-check.md")
