"""The bloat script: its nets, and its page from made-up trainings."""

import numpy as np
import pandas as pd
import pytest
import torch

from benchmarks.bloat_nets import NETS, TITLES, task
from benchmarks.bloat_page import COLUMNS, page
from benchmarks.measurements import Measurements
from subspace_bench.models import parameter_count


def test_the_nets_are_the_tutorials_and_two_more_families() -> None:
    assert len(TITLES) == 9
    assert [task(name, "mnist-5k").name for name in NETS] == list(NETS)
    counts = {name: parameter_count(NETS[name]()) for name in NETS if name not in TITLES}
    assert counts["resnet-20"] == 272_474 - 2 * 9 * 16  # He et al.'s, for one channel of three
    assert counts["fc"] == 199_210
    images = torch.zeros(2, 1, 28, 28)
    assert all(NETS[name]()(images).shape == (2, 10) for name in counts)


@pytest.mark.parametrize(("crossing", "ratio"), [(100, 1_000), (1_000, 100)])
def test_the_ratio_is_that_of_the_made_up_curve(crossing: int, ratio: int) -> None:
    rows = [("mnist-5k", "fc", "plain", 100_000, seed, 95.0, 100_000, 1.0) for seed in range(3)]
    for seed, dim in enumerate(np.geomspace(crossing / 3, 3 * crossing, 12).round().astype(int)):
        accuracy = 0.9 * 95 + 10 * np.log10(dim / crossing)
        rows.append(("mnist-5k", "fc", "subspace", dim, seed, accuracy, 100_000, 1.0))
    numbers = pd.DataFrame(rows, columns=COLUMNS)
    made = page(Measurements(numbers.astype(str), numbers, {"images": 4_000}))
    line = made.tables["mnist-5k"].iloc[0]
    assert float(line["D / d_int"].replace(",", "")) == pytest.approx(ratio, rel=0.03)
    assert made.figures["bloat"].draw().axes[0].get_xlabel()
