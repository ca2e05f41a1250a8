"""`subspace-bench compare`: every projector at every size, measured cell by cell.

The csv beside the page is the store: a cell that this machine has measured is not measured again,
and each one is kept as soon as it has ended. Cells run in a process of their own, so that one that
fails, or that the system kills, takes nothing along.
"""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import pandas as pd

from subspace_bench import projectors, provenance
from subspace_bench.errors import UserError
from subspace_bench.machine import available_memory
from subspace_bench.measure import Case, measure, read_bandwidth
from subspace_bench.runs import write_atomically
from subspace_bench.terminal import size

NATIVE = {
    21_840: "the post's conv net",
    44_426: "LeNet of Li et al.",
    199_210: "the post's FC net",
    11_173_962: "ResNet-18 for CIFAR-10",
    86_567_656: "ViT-B/16",
    1_000_000_000: "10⁹",
}
DIMS = (10, 100, 1_000, 10_000, 100_000)
LIMIT = 120.0  # seconds that a cell may take
SHARE = 0.9  # of the free memory that a cell may take
CONTEXT = multiprocessing.get_context("spawn")
MACHINE = ("cpu", "cpu_capability", "torch", "numba", "gpu")  # what timings belong to
KEY = ("projector", "native", "dim", "device", "dtype", "threads")
TEXTS = ("projector", "device", "dtype", "status", *MACHINE)
SIZES = ("native", "dim", "threads")


class Cells:
    """The cells measured so far on this machine, in `projectors-<device>.csv`."""

    def __init__(self, out: Path, device: str, threads: int) -> None:
        self.path = out / f"projectors-{device}.csv"
        self.device, self.threads = device, threads
        here = provenance.machine(device)
        self.machine = {name: str(here.get(name, "")) for name in MACHINE}
        kept = read(self.path)
        ours = [row for row in kept if all(row.get(k) == v for k, v in self.machine.items())]
        self.dropped = len(kept) - len(ours)
        self.rows = {self.key_of(row): row for row in ours}
        self.read_gbs = next((row["read_gbs"] for row in ours), None)

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
        self.rows[self.key(case)] = {**row, **numbers, **self.machine, "read_gbs": self.read_gbs}
        write_atomically(self.path, self.frame().to_csv(index=False, lineterminator="\n"))

    def frame(self) -> pd.DataFrame:
        """All cells, in the order of sizes, then of projectors."""
        order = {name: i for i, name in enumerate(projectors.names())}
        rows = sorted(
            self.rows.values(),
            key=lambda r: (r["native"], r["dim"], order.get(r["projector"], 99), r["dtype"]),
        )
        return pd.DataFrame(rows)


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
    ]
    if not cases or min(*native, *dims) < 1:
        raise UserError("there is nothing to compare: sizes are from 1, and d is at most D")
    return cases


def waiting(cases: Sequence[Case], cells: Cells) -> list[Case]:
    """Cells that are not measured yet."""
    return [case for case in cases if cells.key(case) not in cells.rows]


def run(
    cases: Sequence[Case],
    cells: Cells,
    repeat: int,
    tell: Callable[[Case, dict[str, Any]], None],
) -> None:
    """Measures the cells one after the other and keeps each."""
    bench = Bench()
    try:
        for case in cases:
            try:
                found = attempt(case, cells, repeat, bench)
            except UserError as failure:
                found = {"status": f"failed: {failure}"}
            cells.keep(case, found)
            tell(case, found)
    finally:
        bench.close()


def attempt(case: Case, cells: Cells, repeat: int, bench: Bench) -> dict[str, Any]:
    """One cell, or in "status" why there is none."""
    needed, free = case.needed_bytes, free_memory(case.device)
    claims = {"predicted_bytes": needed}
    if needed > SHARE * free:
        return {"status": f"does not fit: needs {size(needed)}", **claims}
    return {**bench.measure(case, repeat, cells.threads), **claims}


def free_memory(device: str) -> float:
    """Bytes that the device can still give."""
    if device == "cpu":
        return available_memory()
    import torch

    return float(torch.cuda.mem_get_info()[0])


class Bench:
    """A process that measures cells, made again when it was lost."""

    def __init__(self) -> None:
        self.process: Any = None
        self.pipe: Connection | None = None

    def measure(self, case: Case, repeat: int, threads: int) -> dict[str, Any]:
        if self.process is None or not self.process.is_alive():
            self.start()
        assert self.pipe is not None
        self.pipe.send((case, repeat, threads))
        if not self.pipe.poll(LIMIT):
            self.close()
            return {"status": f"not measured: longer than {LIMIT:.0f} s"}
        try:
            found: dict[str, Any] = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            code = self.process.exitcode
            self.close()
            return {"status": f"failed: its process ended with code {code}, out of memory?"}
        return found

    def start(self) -> None:
        self.pipe, theirs = CONTEXT.Pipe()
        self.process = CONTEXT.Process(target=serve, args=(theirs,), daemon=True)
        self.process.start()
        theirs.close()

    def close(self) -> None:
        if self.process is not None:
            self.process.kill()
            self.process.join()
            self.process = None


def serve(pipe: Connection) -> None:
    """The life of a measuring process."""
    try:
        while True:
            case, repeat, threads = pipe.recv()
            pipe.send(one(case, repeat, threads))
    except (EOFError, OSError, KeyboardInterrupt):
        return


def one(case: Case, repeat: int, threads: int) -> dict[str, Any]:
    """What a cell comes to, whatever happens."""
    try:
        return {"status": "ok", **measure(case, repeat, threads)}
    except UserError as failure:
        return {"status": f"failed: {failure}"}
    except Exception as failure:
        first = (str(failure).splitlines() or [""])[0]
        return {"status": f"failed: {type(failure).__name__}: {first}"}
