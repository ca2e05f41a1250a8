"""Checks of the Triton kernels, for a process of their own: `python triton_programs.py MODE`.

MODE "interpret" runs kernels on the CPU (with TRITON_INTERPRET=1, which Triton reads at import);
"compile" compiles them for compute capability 8.0, without a device. Prints a JSON object of each
check's name and its traceback, empty where it passed.
"""

from __future__ import annotations

import json
import sys
import traceback
from collections.abc import Callable
from itertools import product
from typing import Any

import torch

from subspace_bench.common import rng

KEY = rng.key(3, "any")


def interpret_dense() -> None:
    from subspace_bench.kernels.triton.dense import adjoint, project

    for native, dim, count in ((1, 1, 1), (1025, 3, 2), (700, 130, 1), (2100, 70, 5)):
        p = torch.randn(dim, native).bfloat16()
        bits, exact = p.view(torch.int16), p.double()
        omega, theta = torch.randn(count, dim), torch.randn(count, native)
        forward, back = omega.double() @ exact, theta.double() @ exact.T
        torch.testing.assert_close(project(bits, omega).double(), forward, rtol=1e-5, atol=1e-4)
        torch.testing.assert_close(adjoint(bits, theta).double(), back, rtol=1e-5, atol=1e-3)


def interpret_hadamard() -> None:
    from subspace_bench.kernels.triton.hadamard import transform_
    from subspace_bench.projectors.hadamard import levels_

    for shape in ((1,), (5, 2), (3, 16), (70, 128), (2, 4096), (3, 1 << 13), (1, 1 << 17), (0, 8)):
        x = torch.randn(shape)
        plain = levels_(x.clone())
        transform_(x)
        assert torch.equal(x, plain), shape


def interpret_fastfood() -> None:
    from subspace_bench.kernels.triton import fastfood as kernels
    from subspace_bench.projectors.fastfood import multiply_signs_, permute

    for rows, n, blocks in ((2, 256, range(3)), (1, 4096, range(1, 3)), (1, 1 << 13, range(7, 8))):
        x, g = torch.randn(rows, len(blocks), n), torch.randn(len(blocks), n)
        for scatter in (False, True):
            result = kernels.permute(x, g, KEY, blocks.start, scatter)
            assert torch.equal(result, permute(x, g, KEY, blocks, scatter))
        flipped = x.clone()
        kernels.multiply_signs_(flipped, KEY, blocks.start)
        assert torch.equal(flipped, multiply_signs_(x, KEY, blocks))


def interpret_regenerated() -> None:
    from subspace_bench.kernels.triton.regenerated import adjoint, project
    from subspace_bench.projectors import make

    sizes = ((1, 1, 1), (300, 7, 3), (150, 130, 1), (130, 2, 9))
    for name, (native, dim, count) in product(("regenerated", "regenerated-signs"), sizes):
        native *= 8 if "signs" in name else 1
        projector = make(name, native, dim, seed=3)
        key, kind = projector.key, projector.kind
        p = projector.entries(slice(0, native), slice(0, dim))
        omega, theta = torch.randn(count, dim), torch.randn(count, native)
        if dim < 10:
            omega[0] = torch.eye(dim)[dim // 2]
        forward, back = torch.full_like(theta, torch.nan), torch.full_like(omega, torch.nan)
        project(omega, forward, key, kind)
        adjoint(theta, back, key, kind)
        torch.testing.assert_close(forward, omega @ p, rtol=1e-5, atol=5e-5)
        torch.testing.assert_close(back, theta @ p.T, rtol=1e-5, atol=2e-4)
        if dim < 10:
            torch.testing.assert_close(forward[0], p[dim // 2], rtol=4 * 2.0**-23, atol=0)


def compile_for_ampere(kernel: Any, types: dict[str, str], constants: dict[str, Any]) -> None:
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    types = types | dict.fromkeys(constants, "constexpr")
    signature = {name: types[name] for name in kernel.arg_names}
    source = ASTSource(fn=kernel, signature=signature, constexprs=constants)
    assert triton.compile(source, target=GPUTarget("cuda", 80, 32)).asm["ptx"]


NUMBERS = dict.fromkeys(("size", "dim", "count", "span"), "i32")


def compile_dense() -> None:
    from subspace_bench.kernels.triton.dense import _forward, _transpose

    types = {"columns": "*i16", "omega": "*fp32", "theta": "*fp32", "sums": "*fp32", **NUMBERS}
    compile_for_ampere(_forward, types, {"N": 2, "TILE": 1024})
    compile_for_ampere(_transpose, types, {"N": 8, "COLUMNS": 4, "RUN": 256})


def compile_hadamard() -> None:
    from subspace_bench.kernels.triton.hadamard import _pass

    names = ("DONE", "RUN", "LEVELS", "TILE")
    for values in ((0, 0, 12, 12), (12, 5, 7, 12)):
        constants = dict(zip(names, values, strict=True))
        compile_for_ampere(_pass, {"x": "*fp32", "size": "i32"}, constants)


def compile_fastfood() -> None:
    from subspace_bench.kernels.triton.fastfood import _multiply_signs, _permute

    types = {"k0": "i64", "k1": "i64", "first": "i32", "blocks": "i32"}
    types |= dict.fromkeys(("x", "factors", "out"), "*fp32")
    compile_for_ampere(_multiply_signs, types, {"TILES": 4, "TILE": 1024})
    for scatter in (False, True):
        compile_for_ampere(_permute, types, {"BITS": 14, "TILE": 1024, "SCATTER": scatter})


def compile_regenerated() -> None:
    from subspace_bench.kernels.triton.regenerated import COUNTERS, _forward, _transpose

    types = {"omega": "*fp32", "theta": "*fp32", "sums": "*fp32", **NUMBERS, "seed": "i64"}
    for kernel, kind in product((_forward, _transpose), (0, 1)):
        compile_for_ampere(kernel, types, {"KIND": kind, "N": 2, "C": COUNTERS})


KERNELS = ("dense", "hadamard", "fastfood", "regenerated")


def outcome(check: Callable[[], None]) -> str:
    try:
        check()
    except Exception:
        return traceback.format_exc()
    return ""


if __name__ == "__main__":
    mode = sys.argv[1]
    print(json.dumps({name: outcome(globals()[f"{mode}_{name}"]) for name in KERNELS}))
