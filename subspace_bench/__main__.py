"""`python -m subspace_bench` and the command `subspace-bench`."""

from __future__ import annotations

from subspace_bench.cli import main

if __name__ == "__main__":
    main()
