"""The command line with a mutation.

    python -m subspace_bench.regression.validation.run_mutated NAME check …

Worker processes import the main module again, so the mutation is applied there, too. (This is not
a `__main__.py`, because workers do not import a package's `__main__.py`.)
"""

from __future__ import annotations

import os
import runpy
import sys

from subspace_bench.regression.validation.mutations import MUTATIONS

VARIABLE = "SUBSPACE_BENCH_MUTATION"  # passes the name to workers; nothing else reads it

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in MUTATIONS:
        sys.exit(f"name one of: {', '.join(MUTATIONS)}")
    os.environ[VARIABLE] = sys.argv.pop(1)
if VARIABLE in os.environ:
    MUTATIONS[os.environ[VARIABLE]].apply()
if __name__ == "__main__":
    runpy.run_module("subspace_bench", run_name="__main__")
