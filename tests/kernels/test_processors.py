"""Other processors: LLVM makes code for each, and its results have the same bits."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

PROGRAM = """
import hashlib, torch
from subspace_bench import projectors
from subspace_bench.kernels.cpu.conv_pool import conv_pool_relu
from subspace_bench.projectors.registry import BUILT_IN

def show(name, *tensors):
    data = b"".join(t.detach().contiguous().view(torch.uint8).numpy().tobytes() for t in tensors)
    print(name, hashlib.sha256(data).hexdigest()[:16])

random = torch.Generator().manual_seed(0)
for name in sorted(BUILT_IN):
    p = projectors.make(name, 3_001, 40, 1)
    omega = torch.randn(p.dim, generator=random).requires_grad_()
    theta = p(omega)
    theta.backward(torch.randn(p.native, generator=random))
    show(name, theta, omega.grad)
x = torch.randn(20, 3, 12, 12, generator=random).requires_grad_()
w = torch.randn(7, 3, 5, 5, generator=random).requires_grad_()
b = torch.randn(7, generator=random).requires_grad_()
y = conv_pool_relu(x, w, b)
y.backward(torch.randn(y.shape, generator=random))
show("conv_pool_relu", y, x.grad, w.grad, b.grad)
"""
AVX2 = (
    "+64bit,+aes,+avx,+avx2,+bmi,+bmi2,+cmov,+cx16,+cx8,+f16c,+fma,+fxsr,+lzcnt,+mmx,+movbe,"
    "+popcnt,+sahf,+sse,+sse2,+sse3,+sse4.1,+sse4.2,+ssse3,+xsave"
)


def digests(**variables: str) -> dict[str, str]:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr[-500:]
    return dict(line.split() for line in done.stdout.splitlines())


@pytest.mark.slow  # compiles every kernel
@pytest.mark.skipif(platform.machine() != "x86_64", reason="names processors of x86-64")
def test_kernels_compile_for_a_processor_without_avx512_and_have_the_same_bits() -> None:
    here = digests()
    assert len(here) > 10
    assert digests(NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES=AVX2) == here
