"""Measures the error rates of the check: unchanged runs, and runs with planted faults."""

import subspace_bench.reporting  # noqa: F401  (first, as it makes matplotlib importable)
