"""Triton kernels compile for GPUs of two generations, without a device, and keep to registers.

That they have the CPU's results is checked, interpreted, by tests/benchmarks/test_gpu.py.
"""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("triton")

from benchmarks.gpu import compiled, correctness
from benchmarks.gpu.kernel_checks import CHECKS
from subspace_bench.kernels.triton import availability

PROGRAMS = {program.name: program for program in compiled.programs()}


@pytest.mark.slow
@pytest.mark.parametrize("capability", compiled.CAPABILITIES)
@pytest.mark.parametrize("name", PROGRAMS)
def test_kernels_compile_without_spilling(name, capability, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    needs = compiled.resources(compiled.compile_for(PROGRAMS[name], capability))
    threads = 32 * PROGRAMS[name].warps
    assert needs["spilled bytes"] == 0
    assert needs["registers"] * threads <= 1 << 16  # of a multiprocessor
    assert needs["shared bytes"] <= 64 << 10  # what a program may have from capability 7.5 on


@pytest.mark.cuda
@pytest.mark.parametrize("name", CHECKS)
def test_kernels_are_right_on_a_device(name) -> None:
    CHECKS[name]("cuda")


@pytest.mark.cuda
@pytest.mark.parametrize("name", correctness.WHOLE)
def test_training_is_right_on_a_device(name) -> None:
    correctness.WHOLE[name]("cuda")


@pytest.mark.skipif(torch.cuda.is_available(), reason="Triton compiles where there is a device")
def test_without_a_usable_triton_projectors_say_so_once() -> None:
    availability.works.cache_clear()
    with pytest.warns(UserWarning, match="plain PyTorch"):
        assert not availability.works()
    assert not availability.works()  # a second warning would be an error
    availability.works.cache_clear()
