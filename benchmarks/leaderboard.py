"""How good can d numbers be? Trains entries; writes results/leaderboard.md, .csv.

    python -m benchmarks.leaderboard [NAME …] [--seeds 5] [--held-out] [--device cuda] [--rebuild]

Trains each entry of `entries/` at each of its numbers d, with seeds 0, 1, …, and scores it once on
the test images. A second call continues; an entry whose code changed is trained again.
With `--held-out`, it prints accuracies on held-out training images and keeps nothing: settings are
chosen by these.
"""

from __future__ import annotations

import itertools
from argparse import Namespace
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import torch

from benchmarks import measurements
from benchmarks.leaderboard_entries import ENTRIES, Entry, held_out, load_all
from benchmarks.leaderboard_page import NAME, page
from subspace_bench.common.validation import require_at_least
from subspace_bench.datasets.dataset import Dataset
from subspace_bench.datasets.loading import load as load_dataset
from subspace_bench.records import provenance
from subspace_bench.reporting.render import write_page

KEYS = ["entry", "digest", "d", "seed"]


class Rows:
    """All trainings so far, kept in the csv."""

    def __init__(self, out: Path) -> None:
        self.out, self.frame = out, pd.DataFrame(columns=KEYS)
        if (out / f"{NAME}.csv").is_file():
            self.frame = measurements.load(NAME, out).numbers.astype({"digest": str})

    def has(self, entry: Entry, dim: int, seed: int) -> bool:
        key = [entry.name, entry.digest, dim, seed]
        return bool((self.frame[KEYS] == key).all(axis=1).any())

    def add(self, entry: Entry, dim: int, seed: int, data: Dataset, device: str) -> None:
        """Trains once and writes the csv; rows of the entry's earlier code go."""
        score = entry.score(dim, seed, data, device)
        row = {
            "entry": entry.name, "net": entry.header["net"], "dataset": entry.header["dataset"],
            "digest": entry.digest, "d": dim, "seed": seed, **asdict(score), "device": device,
        }  # fmt: skip
        same = (self.frame["entry"] != entry.name) | (self.frame["digest"] == entry.digest)
        self.frame = pd.concat([self.frame[same], pd.DataFrame([row])])
        self.frame = self.frame.sort_values(KEYS).reset_index(drop=True)
        measurements.save(NAME, self.out, self.frame, provenance.machine())
        print(*row.values(), flush=True)


def train_all(entries: list[Entry], options: Namespace) -> None:
    """Trains what is missing, seed after seed."""
    rows = Rows(options.out)
    for seed, entry in itertools.product(range(options.seeds), entries):
        data = load_dataset(entry.header["dataset"])
        for dim in entry.dims:
            if options.held_out:
                score = entry.score(dim, seed, held_out(data), options.device)
                print(entry.name, dim, seed, *asdict(score).values(), flush=True)
            elif not rows.has(entry, dim, seed):
                rows.add(entry, dim, seed, data, options.device)


def main() -> None:
    parser = measurements.options(__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="entries; default: all")
    parser.add_argument("--seeds", type=int, default=5, help="per entry and d")
    parser.add_argument("--entries", type=Path, default=ENTRIES, help="folder of the entries")
    parser.add_argument("--held-out", action="store_true", help="score held-out training images")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    options = parser.parse_args()
    require_at_least(1, seeds=options.seeds)
    entries = load_all(options.names, options.entries)
    if not options.rebuild:
        torch.set_num_threads(1)
        train_all(entries, options)
    if options.held_out:
        return
    every = load_all([], options.entries)
    print(*write_page(page(measurements.load(NAME, options.out), every), options.out), sep="\n")


if __name__ == "__main__":
    main()
