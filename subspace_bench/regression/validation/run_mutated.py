"""The command line with a fault planted.

    python -m subspace_bench.regression.validation.run_mutated NAME check …

A worker process imports the main module again, so what is planted here is planted there. (Of a
package's `__main__` it would import nothing, and train as if nothing had been planted.)
"""

from __future__ import annotations

import os
import sys

from subspace_bench.cli import main
from subspace_bench.regression.validation.mutations import MUTATIONS

VARIABLE = "SUBSPACE_BENCH_PLANTED_FAULT"  # tells the workers which; nothing else reads it

if __name__ == "__main__":
    if len(sys.argv) < 2 or sys.argv[1] not in MUTATIONS:
        sys.exit(f"name one of: {', '.join(MUTATIONS)}")
    os.environ[VARIABLE] = sys.argv.pop(1)
if VARIABLE in os.environ:
    MUTATIONS[os.environ[VARIABLE]].plant()
if __name__ == "__main__":
    main(sys.argv[1:])
