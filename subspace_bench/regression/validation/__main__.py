"""Measures the error rates of `subspace-bench check`.

python -m subspace_bench.regression.validation train   # missing trials; hours; resumes
python -m subspace_bench.regression.validation checks  # real checks of unchanged code
python -m subspace_bench.regression.validation page    # results/regression.md; minutes
"""

from __future__ import annotations

import argparse

from subspace_bench.regression.validation import page, training, trials
from subspace_bench.regression.validation.mutations import MUTATIONS
from subspace_bench.reporting.render import write_page


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = parser.add_subparsers(dest="command", required=True)
    train = commands.add_parser("train", help="train what is missing")
    train.add_argument("--pool", type=int, default=500, help="seeds of unchanged runs")
    train.add_argument("--seeds", type=int, default=20, help="seeds that measure an effect")
    train.add_argument("--mutations", nargs="*", default=list(MUTATIONS), choices=list(MUTATIONS))
    checks = commands.add_parser("checks", help="make real checks")
    checks.add_argument("--count", type=int, default=20, help="checks in all")
    commands.add_parser("page", help="write results/regression.md")
    options = parser.parse_args()
    if options.command == "train":
        training.train(options.pool, options.seeds, options.mutations)
    elif options.command == "checks":
        training.make_checks(options.count)
    else:
        write_page(page.build(), trials.RESULTS)


if __name__ == "__main__":
    main()
