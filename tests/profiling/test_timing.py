"""Measuring one case: times, memory, distortion; predicted and actual bytes."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from subspace_bench.common.hardware import (
    peak_memory,
    release_free_memory,
    reset_peak_memory,
    resident_memory,
)
from subspace_bench.profiling import distortion, timing
from subspace_bench.profiling.cases import TimingCase, layer_sizes
from subspace_bench.projectors import footprint, make, names

SIZE = (1_100_000, 4)
DTYPES = ("float32", "float64", "bfloat16")
MEGABYTE = 1e6  # slack of the allocator


def bytes_taken(case: TimingCase) -> int:
    """The peak of making and applying a projector, without its ω's and θ's."""
    omega, theta = timing.random_vectors(case)
    release_free_memory()
    reset_peak_memory()
    base = resident_memory()
    projector = case.make()
    making = peak_memory() - base
    both = projector(omega), projector.transpose(theta)
    applying = peak_memory() - base - sum(part.nbytes for part in both)
    return max(making, applying)


def take_all() -> None:
    """Prints [projector, dtype, bytes taken, bytes of ω's and θ's] of every projector."""
    torch.set_num_threads(1)
    torch.set_grad_enabled(False)
    for name in names():
        for dtype in DTYPES:
            case = TimingCase(name, *SIZE, dtype=dtype)
            bytes_taken(case)  # touches the code of libraries, whose pages count as memory, too
            vectors = 2 * case.torch_dtype.itemsize * sum(SIZE)
            print(json.dumps([name, dtype, bytes_taken(case), vectors]))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux can reset the peak")
@pytest.mark.slow
def test_predicted_bytes_are_the_bytes_it_takes() -> None:
    # A fixed threshold: otherwise glibc adapts it, and what it returns depends on the past.
    env = {**os.environ, "MALLOC_MMAP_THRESHOLD_": str(1 << 18)}
    env["PYTHONPATH"] = os.pathsep.join([str(Path(timing.__file__).parents[2]), *sys.path])
    found = subprocess.run([sys.executable, __file__], env=env, capture_output=True, text=True)
    assert found.returncode == 0, found.stderr
    lines = [json.loads(line) for line in found.stdout.splitlines()]
    assert len(lines) == len(names()) * len(DTYPES)
    for name, dtype, taken, vectors in lines:
        need = footprint(name, *SIZE, getattr(torch, dtype))
        claimed = need.resident_bytes + need.workspace_bytes
        assert taken <= claimed + MEGABYTE, (name, dtype)
        assert claimed + vectors <= 2 * (taken + vectors) + MEGABYTE, (name, dtype)


def test_half_precision_needs_copies_and_float64_more_than_float32() -> None:
    single, double, half = (
        TimingCase("srht", 10**6, 10, dtype=dtype).needed_bytes
        for dtype in ("float32", "float64", "float16")
    )
    assert double > 2 * single
    assert half == single  # half of the vectors, and copies of them in float32


def test_measure_yields_times_then_distortion() -> None:
    times, norms = timing.measure(TimingCase("gaussian", 700, 30), 3, 1)
    assert times["setup_s"] > 0
    assert times["resident_bytes"] == 4 * 700 * 30
    assert times["forward_n"] >= 3
    assert times["forward_q25"] <= times["forward_ms"] <= times["forward_q75"]
    assert norms["norm_n"] == 24
    assert norms["pairs"] == 30 * 29 / 2
    assert "read_ms" not in times
    assert torch.is_grad_enabled()


def test_large_projectors_are_also_read() -> None:
    times, _ = timing.measure(TimingCase("gaussian", 2500, 100), 3, 1)
    assert 0 < times["read_q25"] <= times["read_ms"]
    assert times["read_n"] == times["forward_n"] == times["transpose_n"]


def test_coherence_is_the_largest_cosine_between_the_columns() -> None:
    projector = make("gaussian", 300, 8, seed=0)
    columns = projector(torch.eye(8)).double()
    first, second = torch.tensor([0, 3, 5]), torch.tensor([1, 2])
    unit = columns / columns.norm(dim=1, keepdim=True)
    expected = (unit[first] @ unit[second].T).abs().max()
    found = distortion.coherence(projector, first, second, torch.empty(0), batch=2)
    assert found == pytest.approx(float(expected), rel=1e-5)


@pytest.mark.parametrize(
    "dim, pairs", [(1, 0), (2, 1), (10, 45), (100, 4_950), (199, 99**2), (450, 10_000)]
)
def test_pairs_are_distinct_and_counted(dim, pairs) -> None:
    projector = make("hashed", 500, dim, seed=0)
    cpu = torch.device("cpu")
    found = distortion.measure_distortion(projector, cpu, torch.bfloat16, budget=1e3)
    assert found["pairs"] == pairs
    assert math.isnan(found["coherence"]) if dim == 1 else found["coherence"] < 1e-6
    assert found["norm_mean"] == pytest.approx(1, abs=1e-5)


def test_short_budgets_take_few_samples() -> None:
    found = distortion.measure_distortion(
        make("gaussian", 500, 400, seed=0), torch.device("cpu"), torch.float32, budget=0.0
    )
    assert found["norm_n"] <= 24
    assert found["pairs"] == 1
    assert timing.has_enough_samples(3, 11.0, 7, 0.3)
    assert not timing.has_enough_samples(6, 9.0, 7, 0.3)
    assert timing.has_enough_samples(7, 1.0, 7, 0.3)


def test_set_up_is_a_median(monkeypatch) -> None:
    waits = iter([0.03, 0.0, 0.0, 0.0, 0.0])
    made = make("hashed", 50, 5, seed=0)

    def slow_at_first(case: TimingCase):
        time.sleep(next(waits))
        return made

    monkeypatch.setattr(TimingCase, "make", slow_at_first)
    seconds, projector = timing.measure_set_up(TimingCase("hashed", 50, 5))
    assert projector is made
    assert seconds < 0.03


def test_layers_are_those_of_the_models() -> None:
    assert sum(layer_sizes(21_840) or []) == 21_840
    assert layer_sizes(44_426) is None
    layered = TimingCase("fastfood-layers", 21_840, 300).make()
    assert layered.identity()["layers"] == layer_sizes(21_840)


if __name__ == "__main__":
    take_all()
