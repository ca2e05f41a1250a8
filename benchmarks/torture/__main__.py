"""Runs campaigns and writes results/reliability.md, .csv and .json.

    python -m benchmarks.torture                  # all campaigns, in some hours
    python -m benchmarks.torture --only killed    # one; the others' rows stay
    python -m benchmarks.torture --short          # the short form, for CI; writes no page
    python -m benchmarks.torture --rebuild        # the page from its csv

The exit code is 1 if anything was lost or wrong. A campaign that found nothing wrong is not
repeated at the same revision: delete results/reliability.csv to repeat all.
"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from benchmarks.torture.campaigns import CAMPAIGNS

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")


def main(arguments: list[str] | None = None) -> int:
    """Runs the command; returns its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.torture",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", nargs="+", choices=list(CAMPAIGNS), help="campaigns to run")
    parser.add_argument("--short", action="store_true", help="try little, and write no page")
    parser.add_argument("--seed", type=int, default=0, help="of random choices")
    parser.add_argument("--rebuild", action="store_true", help="write the page; run nothing")
    parser.add_argument("--out", type=Path, default=Path("results"))
    options = parser.parse_args(arguments)
    if not options.rebuild and not ONE_THREAD.items() <= os.environ.items():
        # A process with threads cannot be forked safely, and libraries start them when imported.
        command = [sys.executable, "-m", "benchmarks.torture", *(arguments or sys.argv[1:])]
        os.execve(sys.executable, command, {**os.environ, **ONE_THREAD})  # noqa: S606
    from benchmarks import measurements
    from benchmarks.torture import page, runner
    from subspace_bench.reporting.render import write_page

    wrong = 0
    if not options.rebuild:
        names = options.only or [n for n, c in CAMPAIGNS.items() if c.in_short or not options.short]
        for name in names:
            if not options.short and page.is_finished(name, options.out):
                print(f"{name}: finished at this revision", flush=True)
                continue
            rows = runner.run(CAMPAIGNS[name], options.short, options.seed)
            wrong += sum(len(row.wrong) for row in rows)
            if not options.short:
                page.merge(name, rows, options.out)
    if not options.short:
        written = write_page(page.page(measurements.load(page.NAME, options.out)), options.out)
        print(*written, sep="\n")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
