"""Advice: every line is found in the cells, whoever wins there."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd
import pytest
import torch

from subspace_bench import projectors
from subspace_bench.experiments.projectors_advice import crossover, lines, loss
from subspace_bench.profiling.lookup import Measured
from subspace_bench.reporting.statistics import Sample

NONE: Mapping[tuple[str, int], Sample] = {}


def cell(projector: str, native: int, dim: int, ms: float, **changes: float) -> dict[str, object]:
    half = {"forward_ms": ms / 2, "transpose_ms": ms / 2, "setup_s": 0.1}
    half |= {"resident_bytes": 8e6, "peak_bytes": 9e6, "cache_bytes": 1e6}
    quality = {"norm_sd": 0.01, "coherence": 0.02}
    row = {"projector": projector, "native": native, "dim": dim}
    return {**row, **half, **quality, **changes}


def measured(times: Mapping[tuple[str, int, int], float], accuracies=NONE) -> Measured:
    return Measured(pd.DataFrame([cell(*at, ms) for at, ms in times.items()]), accuracies)


# As measured: dense wins at 21,840 × 100 and loses at 21,840 × 1,000, and the other way round it
# wins at 11,173,962 × 10, of more entries than either.
TIMES = {
    (21_840, 10): (0.04, 0.09, 0.12), (21_840, 100): (0.10, 0.11, 0.13),
    (21_840, 1_000): (2.1, 0.13, 0.15), (21_840, 10_000): (90, 0.5, 0.2),
    (11_173_962, 10): (40, 90, 70), (11_173_962, 100): (450, 95, 71),
    (86_567_656, 10): (900, 800, 700),
}  # fmt: skip
NAMES = ("gaussian", "fastfood", "srht")
ROWS = {
    (name, *at): ms for at, found in TIMES.items() for name, ms in zip(NAMES, found, strict=True)
}


def test_dense_pays_up_to_some_d_at_each_D() -> None:
    said = lines(measured(ROWS))[0]
    assert "D = 21,840: up to d = 100 (0.1 against 0.11 ms), not at 1,000 (2.1 against" in said
    assert "D = 11,173,962: up to d = 10 (40 against 70 ms), not at 100 (450 against 71" in said
    assert "D = 86,567,656: not at 10 (900 against 700 ms)" in said


def test_a_crossover_is_the_first() -> None:
    noisy = {**ROWS, ("gaussian", 21_840, 100): 0.2, ("gaussian", 21_840, 1_000): 0.1}
    m = measured(noisy)
    at_21840 = [(21_840, d) for d in (10, 100, 1_000)]
    assert crossover(m, at_21840) == ((21_840, 10), (21_840, 100))
    assert crossover(m, at_21840[:1]) == ((21_840, 10), None)


def test_winners_are_found_in_the_cells() -> None:
    at = (10**6, 10)
    for fast, slow in (("fastfood", "srht"), ("srht", "fastfood")):
        m = measured({(fast, *at): 2.0, (slow, *at): 3.0, ("kronecker", *at): 1.0})
        said = lines(m)
        assert (
            f"the faster is `{fast}` at 1 of 1 sizes (2 against 3 ms at 1,000,000 × 10)." in said[0]
        )
        assert "they take 9 MB (`fastfood`) and 9 MB (`srht`) at 1,000,000 × 10" in said[0]


def test_hashed_wins_where_it_is_faster_than_both() -> None:
    times = {(10**4, 10): (1, 2, 3), (10**4, 100): (2, 1, 3), (10**4, 1000): (3, 2, 1),
             (10**5, 10): (1, 2, 3), (10**6, 10): (1, 3, 2), (10**6, 100): (9, 10, 11)}  # fmt: skip
    names = ("hashed", "fastfood", "srht")
    m = measured({(names[i], *at): ms for at, row in times.items() for i, ms in enumerate(row)})
    [said] = [line for line in lines(m) if line.startswith("**`hashed`**")]
    assert "at D = 10,000: d = 10; D = 100,000: every d; D = 1,000,000: every d (9 against" in said
    assert "(9 against 10 ms at 1,000,000 × 100)" in said


def test_sparse_says_how_little_it_moves_where_it_is_fastest() -> None:
    times = {("gaussian", 10**4, 10): 2.0, ("sparse", 10**4, 10): 1.0,
             ("gaussian", 10**4, 100): 2.0, ("sparse", 10**4, 100): 3.0}  # fmt: skip
    [said] = [line for line in lines(measured(times)) if line.startswith("**`sparse`**")]
    assert "fastest of all at 1 of 2 sizes, where 9.6 to 9.6% of θ moves" in said  # 1 - 0.99^10
    columns = projectors.make("sparse", 10**4, 10, seed=0)(torch.eye(10))
    moved = columns.ne(0).any(dim=0).double().mean()
    assert float(moved) == pytest.approx(projectors.nonzero_rows("sparse", 10**4, 10), abs=0.01)


def test_qualities_name_the_most_and_the_least() -> None:
    frame = pd.DataFrame([
        cell("a", 100, 10, 1, coherence=0.9, norm_sd=0.1),
        cell("b", 100, 10, 1, coherence=0.1, norm_sd=0.3),
        cell("c", 100, 10, 1, coherence=float("nan"), norm_sd=float("nan")),
    ])  # fmt: skip
    said = "\n".join(lines(Measured(frame, NONE)))
    assert "the least in `b`, coherence 0.1 at 100 × 10, and the most in `a`, 0.9" in said
    assert "varies by 0.3 over random ω in `b`, the most, and by 0.1 in `a`, the least" in said


def test_ratios_are_said_as_they_are() -> None:
    at = (10**6, 100)
    m = measured({("gaussian", *at): 10.0, ("gaussian-bf16", *at): 12.0, ("sparse", *at): 1.0})
    said = "\n".join(lines(m))
    assert (
        "holds 8 MB where float32 holds 8 MB at 1,000,000 × 100, and takes 1.2 times as long"
        in said
    )
    assert "and takes 0.1 times as long" in said


def test_one_speed_of_memory_is_assumed_only_beyond_the_cache() -> None:
    at = (10**6, 100)
    slow = cell("gaussian", *at, 20.0, read_ms=8.0)  # 1 GB/s, twice the speed of the next
    half = {"resident_bytes": 4e6, "read_ms": 8.0}
    for cache, said in ((1e6, "takes 0.5 times as long, memory as fast"),
                        (5e6, "takes 1 times as long")):  # fmt: skip
        rows = [slow | {"cache_bytes": cache},
                cell("gaussian-bf16", *at, 20.0, **half, cache_bytes=cache)]  # fmt: skip
        text = "\n".join(lines(Measured(pd.DataFrame(rows), NONE)))
        assert f"{said}." in text


def test_set_up_of_orthonormal_columns_is_in_order() -> None:
    rows = [cell("orthonormal", 900, 10, 1, setup_s=2.0), cell("srht", 900, 10, 1, setup_s=0.01)]
    said = "\n".join(lines(Measured(pd.DataFrame(rows), NONE)))
    assert "cost in set-up, at 900 × 10: `srht` 0.01 s, `orthonormal` 2 s" in said


def test_losses_have_their_uncertainty_at_every_d() -> None:
    sure = Sample((97.9, 98.0, 98.1))
    accuracies = {
        ("orthonormal", 1000): sure, ("hashed", 1000): Sample((90.0, 90.1, 90.2)),
        ("orthonormal", 3000): sure, ("hashed", 3000): Sample((96.9, 97.0, 97.1)),
        ("sparse", 3000): Sample((97.0,)), ("kronecker", 3000): Sample(()),
    }  # fmt: skip
    m = Measured(pd.DataFrame(), accuracies)
    both = "-7.90 ± 0.23 at d = 1,000, -1.00 ± 0.23 at d = 3,000"
    assert loss(m, "hashed") == f"; points of accuracy over `orthonormal`: {both}"
    assert loss(m, "orthonormal", "hashed").endswith("`hashed`: +7.90 ± 0.23 at d = 1,000, "
                                                     "+1.00 ± 0.23 at d = 3,000")  # fmt: skip
    assert loss(m, "sparse").endswith(": -1.00 (too few seeds) at d = 3,000")
    assert loss(m, "kronecker") == loss(m, "orthonormal") == ""


def test_accuracy_says_where_no_difference_is_seen() -> None:
    apart = {("a", 300): Sample((90.0, 90.1, 90.2)), ("b", 300): Sample((95.0, 95.1, 95.2))}
    alike = {("a", 1000): Sample((96.0, 97.0, 98.0)), ("b", 1000): Sample((96.1, 97.1, 98.1))}
    m = measured({("a", 100, 10): 1.0}, {**apart, **alike, ("a", 3000): Sample((98.0,))})
    [said] = [line for line in lines(m) if line.startswith("**Accuracy")]
    assert (
        "d = 300: 95.10 ± 0.25 (n = 3) (`b`) to 90.10 ± 0.25 (n = 3) (`a`), `a` below all " in said
    )
    # By hand: 2.776 (t, 4 degrees of freedom) · √(2/3) · sd 1.
    assert said.endswith("(`a`), no difference seen (which takes means 2.3 points apart).")
    assert "3,000" not in said


def test_nothing_measured_says_nothing() -> None:
    assert lines(Measured(pd.DataFrame(), NONE)) == []
