"""The page of projectors: cases of `subspace-bench compare --device cuda`, the most valuable first.

They are measured as `compare` measures them, and its csv, `projectors-cuda.csv`, is in the archive.
"""

from __future__ import annotations

from functools import cache, partial
from pathlib import Path

from benchmarks.gpu.log import Log
from benchmarks.gpu.stages import Item, Setting, Values
from subspace_bench.common.formatting import format_bytes
from subspace_bench.common.hardware import core_count
from subspace_bench.profiling.cases import DIMS, NATIVE, TimingCase, grid
from subspace_bench.profiling.table import TimingTable
from subspace_bench.profiling.timing import measure
from subspace_bench.profiling.worker import fits, free_memory
from subspace_bench.projectors.registry import BUILT_IN

REPEAT = 9
DRY, DRY_NAMES = ((700,), (30,)), ("hashed",)
# The sizes that tell most come first: the post's net, ViT-B/16, 10⁹, ResNet-18, then the others.
FIRST_NATIVE = (21_840, 86_567_656, 1_000_000_000, 11_173_962, 199_210, 44_426)
FIRST_DIMS = (1_000, 10_000, 100, 100_000, 10)
FIRST_NAMES = ("hashed", "fastfood", "srht", "sparse", "gaussian", "gaussian-bf16", "kronecker")
MOST_SET_UP_BYTES = 10_000_000_000  # of a stored P, which the host draws at about 1 GB/s
LIMIT_SECONDS = 45.0


def items(setting: Setting) -> list[Item]:
    """One item a case; bfloat16 after all of float32."""
    native, dims = DRY if setting.dry else (tuple(NATIVE), DIMS)
    names = list(DRY_NAMES if setting.dry else BUILT_IN)
    found = []
    for dtype in ("float32", "bfloat16"):
        cases = grid(names, native, dims, setting.device, dtype)
        cases.sort(key=worth)
        suffix = "" if dtype == "float32" else f", {dtype}"
        found += [Item(case.label + suffix, partial(measure_case, case, setting), LIMIT_SECONDS)
                  for case in cases]  # fmt: skip
    return found


def worth(case: TimingCase) -> tuple[int, ...]:
    """Sorts cases: by size, in the order above, then by projector."""
    sizes = {(n, d): FIRST_NATIVE.index(n) + FIRST_DIMS.index(d)
             for n in FIRST_NATIVE for d in FIRST_DIMS}  # fmt: skip
    place = sizes.get((case.native, case.dim), 0)
    names = (*FIRST_NAMES, *(name for name in BUILT_IN if name not in FIRST_NAMES))
    return place, case.native, names.index(case.projector)


def too_slow_at(case: TimingCase, setting: Setting) -> int:
    """A smaller d of the same projector and D that exceeded its limit; 0 if there is none."""
    for name, row in Log.read(setting.work / "projectors.jsonl").rows.items():
        native, _, dim = name.removeprefix(f"{case.projector} ").partition(" × ")
        if row["status"].startswith("not measured: over") and native == f"{case.native:,}":
            smaller = int(dim.partition(", ")[0].replace(",", "")) if dim else 0
            if 0 < smaller < case.dim:
                return smaller
    return 0


@cache
def table(device: str, work: Path) -> TimingTable:
    """The csv, and the device's read bandwidth, measured once."""
    return TimingTable(work, device, core_count())


def measure_case(case: TimingCase, setting: Setting) -> Values:
    """Measures a case, unless its memory does not fit, and adds it to the csv."""
    stored = table(setting.device, setting.work)
    need = case.needed_bytes
    if smaller := too_slow_at(case, setting):
        result: Values = {"status": f"not measured: takes too long already at d = {smaller:,}"}
    elif not fits(case, free_memory(setting.device)) or not fits(case, free_memory("cpu")):
        result = {"status": f"does not fit: needs {format_bytes(need)}"}
    elif case.footprint.resident_bytes > MOST_SET_UP_BYTES:
        result = {"status": f"not measured: drawing {format_bytes(need)} takes too long"}
    else:
        # Without the distortion, which is P's own and stands on the page of the CPU.
        times = next(measure(case, 1 if setting.dry else REPEAT, core_count()))
        result = {"status": "ok", **times}
    stored.put(case, {**result, "predicted_bytes": need})
    shown = {key: value for key, value in result.items() if key.endswith("_ms")}
    return {"status": result["status"], **shown}
