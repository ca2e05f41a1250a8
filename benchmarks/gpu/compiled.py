"""Triton kernels compiled for a compute capability without a device: registers, shared memory.

    python -m benchmarks.gpu.compiled    # results/gpu-kernels.csv, then the page results/gpu.md

Triton compiles to machine code for any capability; `cuobjdump`, which its wheel brings, reads what
the code needs.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.gpu.page import COMPILED, rebuild
from subspace_bench.common.files import write_atomically

CAPABILITIES = (80, 90)  # A100; H100 and H200
NUMBERS = dict.fromkeys(("size", "dim", "count", "span"), "i32")


@dataclass(frozen=True)
class Program:
    """One kernel with one set of compile-time constants.

    Attributes:
        types: argument → Triton's name of its type.
        warps: as it is launched.
        aligned: integers that are multiples of 16, which lets loads and stores be wide.
    """

    name: str
    kernel: Any
    types: dict[str, str]
    constants: dict[str, Any]
    warps: int = 4
    aligned: tuple[str, ...] = ()


def programs() -> Iterator[Program]:
    """Every kernel, as the projectors launch it for one vector."""
    from subspace_bench.kernels.triton import (
        dense,
        fastfood,
        fastfood_blocks,
        hadamard,
        hashed,
        projected_adam,
        regenerated,
        sparse,
        srht,
    )

    vectors = dict.fromkeys(("omega", "theta", "sums"), "*fp32")
    types = {"columns": "*i16", **vectors, **NUMBERS}
    constants: dict[str, Any] = {"N": 1, "TILE": dense._TILE, "TOGETHER": dense._TOGETHER}
    yield Program("dense bf16, Pω", dense._forward, types, constants, aligned=("size",))
    constants = {"N": 1, "RUN": dense._RUN}
    aligned = ("size", "span")
    yield Program("dense bf16, Pᵀθ", dense._transpose, types, constants, aligned=aligned)
    names = ("columns", "gradient", "omega", "m", "v", "sums", "rates")
    types = dict.fromkeys(names, "*fp32") | {"size": "i32", "dim": "i32"}
    types |= dict.fromkeys(("new_m", "beta2", "new_v", "eps"), "fp32")
    constants = dict(zip(("MAIN", "REST"), projected_adam.split(21_840), strict=True))
    adam, warps = projected_adam._step, projected_adam.WARPS
    yield Program("Adam, one read of P", adam, types, constants, warps, aligned=("size",))
    yield Program("Adam, one read of P, D odd", adam, types, constants, warps)
    types = {"x": "*fp32", "size": "i32"}
    tile, run, warps = hadamard.TILE, hadamard.RUN, hadamard.WARPS
    for name, done, levels in (("first", 0, tile), ("later", tile, tile - run)):
        constants = {"DONE": done, "RUN": run if done else 0, "LEVELS": levels, "TILE": tile}
        yield Program(f"Hadamard, {name} pass", hadamard._pass, types, constants, warps)
    types = {"k0": "i64", "k1": "i64", "first": "i32", "blocks": "i32"}
    types |= dict.fromkeys(("x", "factors", "out"), "*fp32")
    constants = {"TILES": 4, "TILE": 1024}
    yield Program("Fastfood, signs", fastfood._multiply_signs, types, constants)
    for scatter in (False, True):
        name = "adjoint permutation" if scatter else "permutation"
        constants = {"BITS": 14, "TILE": 1024, "SCATTER": scatter}
        yield Program(f"Fastfood, {name}", fastfood._permute, types, constants)
    lengths = ("rows", "dim", "native", "stride", "first", "done")
    types = dict.fromkeys(("omega", "g", "s", "theta", "sums"), "*fp32")
    types |= {"k0": "i64", "k1": "i64"} | dict.fromkeys(lengths, "i32")
    for levels in (10, fastfood_blocks.MOST_LEVELS):
        for kernel, map_ in ((fastfood_blocks._project, "Pω"), (fastfood_blocks._adjoint, "Pᵀθ")):
            name, warps = f"Fastfood {map_}, n = 2^{levels}", fastfood_blocks._warps(1 << levels)
            yield Program(name, kernel, types, {"LEVELS": levels}, warps)
    types = {"rows": "*fp32", "k0": "i64", "k1": "i64"}
    types |= dict.fromkeys(("native", "size", "tiles"), "i32")
    for back in (False, True):
        name = "adjoint fold" if back else "fold"
        constants = {"SCALE": 2.0**-7, "BACK": back, "TILE": srht._TILE}
        yield Program(f"SRHT, {name}", srht._fold, types, constants, aligned=("native", "size"))
    constants = {"BLOCK": 2, "SCALE": 2.0**-7, "TILE": srht._TILE}
    yield Program("SRHT, signs", srht._multiply_signs, types, constants)
    types = dict.fromkeys(("omega", "theta"), "*fp32") | {"entries": "*i32", "listed": "*i32"}
    types |= {"starts": "*i64", "pointers": "*i64"}
    types |= dict.fromkeys(("native", "dim", "count", "low"), "i32")
    for lanes in (1, sparse._MOST_LANES):
        constants = {"HIGH": 12, "ROWS": sparse._TILE // lanes, "LANES": lanes}
        yield Program(f"sparse Pω, {lanes} lanes a row", sparse._project, types, constants, 1)
    yield Program("sparse Pᵀθ", sparse._adjoint, types, {"RUN": sparse._RUN})
    numbers = dict.fromkeys(("dim", "native", "part", "full", "span"), "i32")
    types = {**vectors, **numbers, "k0": "i64", "k1": "i64", "rest": "*i32", "inverse": "*i32"}
    types |= {"words": "*i32", "counters": "i32"}
    constants = {"BITS": 7, "COUNTERS": hashed._COUNTERS}
    yield Program("hashed, signs", hashed._sign_words, types, constants)
    for rest in (False, True):
        end = ", last block" if rest else ""
        constants = {"BITS": 14, "TILE": hashed._TILE, "REST": rest}
        yield Program(f"hashed Pω{end}", hashed._project, types, constants, hashed._WARPS)
        constants = {"BITS": 14, "COLUMNS": 1024, "TIMES": 1, "REST": rest}
        yield Program(f"hashed Pᵀθ{end}", hashed._adjoint, types, constants)
    types = {**vectors, **NUMBERS, "seed": "i64"}
    for kind, what in ((0, "normals"), (1, "signs")):
        for kernel, map_ in ((regenerated._forward, "Pω"), (regenerated._transpose, "Pᵀθ")):
            constants = {"KIND": kind, "N": 1, "C": regenerated.COUNTERS}
            name = f"regenerated {what}, {map_}"
            yield Program(name, kernel, types, constants, regenerated._warps(kind))


def compile_for(program: Program, capability: int) -> Any:
    """The compiled kernel.

    Raises:
        Exception: of Triton's own, if it does not compile.
    """
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    types = program.types | dict.fromkeys(program.constants, "constexpr")
    signature = {name: types[name] for name in program.kernel.arg_names}
    # Tensors of PyTorch start at multiples of 16 bytes, too.
    aligned = {
        (i,): [["tt.divisibility", 16]]
        for i, name in enumerate(program.kernel.arg_names)
        if types[name].startswith("*") or name in program.aligned
    }
    source = ASTSource(program.kernel, signature, constexprs=program.constants, attrs=aligned)
    options = {"num_warps": program.warps}
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


def resources(compiled: Any) -> dict[str, int]:
    """Registers of a thread, bytes that it spills, and bytes of a program's shared memory."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "kernel.cubin"
        path.write_bytes(compiled.asm["cubin"])
        command = [str(dumper()), "-res-usage", str(path)]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    found = dict(re.findall(r"\b(REG|STACK|LOCAL):(\d+)", text))
    return {
        "registers": int(found["REG"]),
        "spilled bytes": int(found["STACK"]) + int(found["LOCAL"]),
        "shared bytes": int(compiled.metadata.shared),
    }


def dumper() -> Path:
    """The `cuobjdump` of Triton's wheel."""
    import triton

    return Path(triton.__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"


def table() -> pd.DataFrame:
    """What each kernel needs at each capability."""
    lines = []
    for program in programs():
        line: dict[str, Any] = {"kernel": program.name, "threads": 32 * program.warps}
        for capability in CAPABILITIES:
            needs = resources(compile_for(program, capability))
            line |= {f"{name}, sm_{capability}": n for name, n in needs.items()}
        line["Triton"] = metadata.version("triton")
        lines.append(line)
    return pd.DataFrame(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("results"))
    out = parser.parse_args().out
    text = table().to_csv(index=False, lineterminator="\n")
    write_atomically(out / f"{COMPILED}.csv", text)
    print(*rebuild(out), sep="\n")


if __name__ == "__main__":
    main()
