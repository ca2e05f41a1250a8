"""`python -m subspace_bench.regression.validation`."""

from __future__ import annotations

import argparse
import json

from subspace_bench.regression.validation import page, training, trials
from subspace_bench.regression.validation.mutations import MUTATIONS
from subspace_bench.regression.validation.trials import RESULTS


def main() -> None:
    parser = argparse.ArgumentParser(description=trials.__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    trains = commands.add_parser("train")
    trains.add_argument("--pool", type=int, default=500)
    trains.add_argument("--seeds", type=int, default=20)
    trains.add_argument("--faults", nargs="*", default=list(MUTATIONS))
    commands.add_parser("checks").add_argument("--count", type=int, default=20)
    commands.add_parser("page")
    single = commands.add_parser("one")
    single.add_argument("fault")
    single.add_argument("tasks", type=json.loads)
    chosen = parser.parse_args()
    if chosen.command == "train":
        training.train(chosen.pool, chosen.seeds, chosen.faults)
    elif chosen.command == "checks":
        training.checks(chosen.count)
    elif chosen.command == "one":
        training.one(chosen.fault, chosen.tasks)
    else:
        page.write(RESULTS)


if __name__ == "__main__":
    main()
