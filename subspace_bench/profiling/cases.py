"""The cells of `subspace-bench compare`: every projector at every size, and what was measured.

The csv beside the page is the store: a cell that this machine has measured is not measured again,
and each one is kept as soon as it has ended.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from subspace_bench import projectors
from subspace_bench.common.errors import UserError
from subspace_bench.common.files import write_atomically
from subspace_bench.common.formatting import format_bytes
from subspace_bench.common.hardware import available_memory, last_level_cache
from subspace_bench.profiling.timing import NETS, Case, layers_at, read_bandwidth
from subspace_bench.profiling.worker import Bench, limit
from subspace_bench.records import provenance

NATIVE = {
    21_840: "the post's conv net",
    44_426: "LeNet of Li et al.",
    199_210: "the post's FC net",
    11_173_962: "ResNet-18 for CIFAR-10",
    86_567_656: "ViT-B/16",
    1_000_000_000: "10⁹",
}
DIMS = (10, 100, 1_000, 10_000, 100_000)
SMALL = ((21_840, 1_000), (199_210, 100))  # (D, d) of the cells that asv times for every commit
SHARE = 0.9  # of the free memory that a cell may take
MACHINE = ("cpu", "cpu_capability", "torch", "numba", "gpu")  # what timings belong to
KEY = ("projector", "native", "dim", "device", "dtype", "threads")
TEXTS = ("projector", "device", "dtype", "status", "revision", *MACHINE)
SIZES = ("native", "dim", "threads")


class Cells:
    """The cells measured so far on this machine, in `projectors-<device>.csv`.

    Where that file holds cells of another machine (or of other versions of torch or numba), this
    one's stand beside it, in a file named after this machine: neither is mixed nor lost.
    """

    def __init__(self, out: Path, device: str, threads: int) -> None:
        self.device, self.threads = device, threads
        here = provenance.machine(device)
        self.machine = {name: str(here.get(name, "")) for name in MACHINE}
        self.path = out / f"projectors-{device}.csv"
        self.other: Path | None = None  # the file that another machine wrote
        rows = read(self.path)
        if not all(self.is_ours(row) for row in rows):
            self.other = self.path
            name = hashlib.sha256("\n".join(self.machine.values()).encode()).hexdigest()[:8]
            self.path = out / f"projectors-{device}-{name}.csv"
            rows = [row for row in read(self.path) if self.is_ours(row)]
        self.rows = {self.key_of(row): row for row in rows}
        self.read_gbs: float | None = None  # of this session

    def is_ours(self, row: dict[str, Any]) -> bool:
        return all(row.get(name) == value for name, value in self.machine.items())

    @staticmethod
    def key_of(row: dict[str, Any]) -> tuple[Any, ...]:
        return tuple(row[name] for name in KEY)

    def key(self, case: Case) -> tuple[Any, ...]:
        return (
            case.projector, case.native, case.dim, case.device, case.dtype, self.threads,
        )  # fmt: skip

    def keep(self, case: Case, found: dict[str, Any]) -> None:
        """Adds a cell and writes the csv."""
        if self.read_gbs is None:
            self.read_gbs = round(read_bandwidth(self.device, self.threads) / 1e9, 1)
        row = dict(zip(KEY, self.key(case), strict=True))
        numbers = {k: float(f"{v:.5g}") if isinstance(v, float) else v for k, v in found.items()}
        facts = {"read_gbs": self.read_gbs, "cache_bytes": cache(self.device), **self.machine}
        self.rows[self.key(case)] = {**row, **numbers, **facts, "revision": revision()}
        write_atomically(self.path, in_order(self.rows).to_csv(index=False, lineterminator="\n"))

    def frame(self) -> pd.DataFrame:
        """The cells measured with as many threads as now, in order."""
        return in_order({k: row for k, row in self.rows.items() if row["threads"] == self.threads})


def in_order(rows: dict[tuple[Any, ...], dict[str, Any]]) -> pd.DataFrame:
    """Cells in the order of sizes, then of projectors."""
    order = {name: i for i, name in enumerate(projectors.names())}

    def place(row: dict[str, Any]) -> tuple[Any, ...]:
        return row["native"], row["dim"], order.get(row["projector"], len(order)), row["dtype"]

    ordered: list[dict[str, Any]] = sorted(rows.values(), key=place)
    return pd.DataFrame(ordered)


def revision() -> str:
    """The package's revision in short, with a + where files differ from it."""
    found = provenance.revision()
    return f"{found['revision'][:8]}{'+' * bool(found['dirty'])}" if found["revision"] else ""


def cache(device: str) -> int:
    """Bytes of the device's last-level cache; 0 where it does not tell."""
    if device == "cpu":
        return last_level_cache()
    import torch

    return int(getattr(torch.cuda.get_device_properties(0), "L2_cache_size", 0))


def read(path: Path) -> list[dict[str, Any]]:
    """The rows of a csv of cells; none where there is no file.

    Raises:
        UserError: where the file is none of ours.
    """
    if not path.exists():
        return []
    try:
        frame = pd.read_csv(path, dtype=dict.fromkeys(TEXTS, str))
        frame[list(TEXTS)] = frame[list(TEXTS)].fillna("")
        rows = [{str(k): v for k, v in row.items()} for row in frame.to_dict("records")]
        return [{**row, **{name: int(row[name]) for name in SIZES}} for row in rows]
    except (KeyError, ValueError) as failure:
        raise UserError(
            f"{path} is no table of cells ({failure}): move it away, and it is measured again"
        ) from failure


def grid(
    names: Sequence[str], native: Sequence[int], dims: Sequence[int], device: str, dtype: str
) -> list[Case]:
    """All cells with d ≤ D, small ones first.

    Raises:
        UserError: for a size that is no size, or where no d fits any D.
    """
    cases = [
        Case(name, n, d, device, dtype)
        for n in sorted(native)
        for d in sorted(dims)
        if d <= n
        for name in names
        if layers_at(n) or not by_layers(name)
    ]
    if min(*native, *dims) < 1 or min(dims) > max(native):
        raise UserError("there is nothing to compare: sizes are from 1, and d is at most D")
    if not cases:
        raise UserError(
            f"{', '.join(names)} goes by a model's layers: give --native the D of a model here, "
            f"{' or '.join(map(str, NETS))}"
        )
    return cases


def small() -> list[Case]:
    """The cells that asv times."""
    return [Case(name, *at) for at in SMALL for name in projectors.names()]


def by_layers(name: str) -> bool:
    """Whether a projector goes by the sizes of a model's layers."""
    try:
        return "layers" in projectors.load(name).accepts
    except UserError:
        return False


def waiting(cases: Sequence[Case], cells: Cells) -> list[Case]:
    """Cells that are not measured yet; what failed or did not fit may do better now.

    What took too long would again.
    """
    done = ("ok", "not measured")
    return [
        case for case in cases
        if not str(cells.rows.get(cells.key(case), {}).get("status", "")).startswith(done)
    ]  # fmt: skip


def run(
    cases: Sequence[Case],
    cells: Cells,
    repeat: int,
    tell: Callable[[Case, dict[str, Any]], None],
    seconds: float = math.inf,
) -> int:
    """Measures the cells one after the other, keeps each, and returns how many it came to.

    Arguments:
        seconds: after which it stops; the cell that is being measured then is not kept.
    """
    bench, end = Bench(), time.monotonic() + seconds
    slow: dict[tuple[str, int], int] = {}  # (projector, D) → the d that took too long
    try:
        for done, case in enumerate(cases):
            left = end - time.monotonic()
            if left <= 0:
                return done
            if (case.projector, case.native) in slow:
                dim = slow[case.projector, case.native]
                found = {"status": f"not measured: takes too long already at d = {dim:,}"}
            else:
                found = attempt(case, cells, repeat, bench, left)
            late = found["status"].startswith("not measured: longer")
            if late and left < limit(case):
                return done
            if late:
                slow[case.projector, case.native] = case.dim
            cells.keep(case, found)
            tell(case, found)
        return len(cases)
    finally:
        bench.close()


def attempt(case: Case, cells: Cells, repeat: int, bench: Bench, seconds: float) -> dict[str, Any]:
    """One cell, or in "status" why there is none."""
    try:
        needed, free = case.needed_bytes, free_memory(case.device)
    except UserError as failure:
        return {"status": f"failed: {failure}"}
    claims = {"predicted_bytes": needed}
    if needed > SHARE * free:
        return {"status": f"does not fit: needs {format_bytes(needed)}", **claims}
    found = bench.measure(case, repeat, cells.threads, min(limit(case), seconds))
    return {**found, **claims}


def free_memory(device: str) -> float:
    """Bytes that the device can still give."""
    if device == "cpu":
        return available_memory()
    import torch

    return float(torch.cuda.mem_get_info()[0])
