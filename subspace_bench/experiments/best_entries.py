"""The best entries of the leaderboard, from its csv."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, TypedDict

import pandas as pd

from subspace_bench.common.errors import UserError
from subspace_bench.common.schema import (
    Count,
    Name,
    Natural,
    NonNegative,
    Pattern,
    Percent,
    Seconds,
)
from subspace_bench.records.table import KeyedTable
from subspace_bench.reporting.statistics import MIN_SEEDS, Sample

LEADERBOARD, KEY = "leaderboard.csv", ("entry", "digest", "d", "seed")
NETS = {"post": "the post's net", "any": "any net"}  # of its rows
Row = dict[str, Any]


class LeaderboardRow(TypedDict):
    """The columns of the leaderboard's csv."""

    entry: Name
    net: Literal["post", "any"]
    dataset: Name
    digest: Annotated[str, Pattern("[0-9a-f]{12}")]
    d: Count
    seed: Natural
    numbers: NonNegative
    stored_bytes: NonNegative
    accuracy: Percent
    seconds: Seconds
    device: Name


def best_entries(out: Path) -> list[Row]:
    """The best mean accuracy at each d of the leaderboard, over at least MIN_SEEDS seeds, on MNIST.

    "Any net" may be the post's.

    Raises:
        UserError: if `leaderboard.csv` is damaged.
    """
    path = out / LEADERBOARD
    if not path.is_file():
        return []
    found: dict[tuple[str, int], list[Sample]] = {}
    frame = pd.DataFrame(KeyedTable(path, LeaderboardRow, KEY).sorted())
    if frame.empty:
        raise UserError(f"{path} has no rows: restore it, or move it away")
    for (net, dim, _), seeds in frame.query("dataset == 'mnist'").groupby(["net", "d", "entry"]):
        sample = Sample(tuple(seeds["accuracy"]))
        if sample.n >= MIN_SEEDS:
            for name in dict.fromkeys((NETS[str(net)], NETS["any"])):  # also the post's
                found.setdefault((name, int(str(dim))), []).append(sample)
    best = {key: max(samples, key=lambda sample: sample.mean) for key, samples in found.items()}
    return [
        {"series": f"best entry, {net}", "source": "ours", "trained": dim, "joined": True,
         "accuracy": round(sample.mean, 4), "low": min(sample.values), "high": max(sample.values),
         "text": sample.show(), "records": []}
        for (net, dim), sample in best.items()
    ]  # fmt: skip
