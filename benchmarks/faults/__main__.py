"""`python -m benchmarks.faults NAME …`: the command line with a fault planted.

A worker process imports the main module too, so that what is planted here is planted there.
"""

from __future__ import annotations

import os
import sys

from benchmarks.faults import FAULTS
from subspace_bench.cli import main

VARIABLE = "SUBSPACE_BENCH_PLANTED_FAULT"  # tells the workers which; nothing else reads it

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in FAULTS:
        sys.exit(f"name one of: {', '.join(FAULTS)}")
    os.environ[VARIABLE] = sys.argv.pop(1)
if VARIABLE in os.environ:
    FAULTS[os.environ[VARIABLE]].plant()
if __name__ == "__main__":
    main(sys.argv[1:])
