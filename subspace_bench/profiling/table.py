"""The csv of timings, `projectors-<device>.csv`: one row per case, all from one machine.

It provides the numbers of the page and serves as the store: cases in it are not measured again.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from subspace_bench import projectors
from subspace_bench.common.files import digest
from subspace_bench.common.hardware import last_level_cache
from subspace_bench.profiling.cases import TimingCase
from subspace_bench.profiling.timing import read_bandwidth
from subspace_bench.records import provenance
from subspace_bench.records.table import KeyedTable

KEY = ("projector", "native", "dim", "device", "dtype")
MACHINE = ("cpu", "cpu_capability", "torch", "numba", "gpu", "threads")
MEASURED = ("forward_ms", "transpose_ms", "resident_bytes", "peak_bytes")
TEXT = ("projector", "device", "dtype", "status", "revision", *MACHINE[:-1])


class TimingTable:
    """The timings of this machine.

    If `projectors-<device>.csv` has another machine, other versions or another number of threads,
    this machine's rows go into a second file, named after a hash of the machine.

    Attributes:
        path: the file.
        foreign: the file of the other machine, or None.
    """

    def __init__(self, out: Path, device: str, threads: int) -> None:
        facts = provenance.machine(device)
        self.device, self.threads = device, threads
        self.machine = {name: str(facts.get(name, "")) for name in MACHINE[:-1]}
        self.path, self.foreign = out / f"projectors-{device}.csv", None
        self._table = open_csv(self.path)
        if any(self._is_foreign(row) for row in self._table.rows.values()):
            self.foreign = self.path
            suffix = digest([*self.machine.values(), threads])[:8]
            self.path = out / f"projectors-{device}-{suffix}.csv"
            self._table = open_csv(self.path)
        self._read_gbs: float | None = None  # measured once per session, at the first `put`

    def _is_foreign(self, row: dict[str, Any]) -> bool:
        facts = {**self.machine, "threads": self.threads}
        return any(row.get(name) != value for name, value in facts.items())

    def get(self, case: TimingCase) -> dict[str, Any] | None:
        """The row of a case, or None."""
        return self._table.get(tuple(getattr(case, name) for name in KEY))

    def put(self, case: TimingCase, result: dict[str, Any]) -> None:
        """Adds or replaces the row of a case and writes the csv, with five significant digits."""
        if self._read_gbs is None:
            self._read_gbs = round(read_bandwidth(self.device, self.threads) / 1e9, 1)
        self._table.put({
            **{name: getattr(case, name) for name in KEY},
            "threads": self.threads,
            **{k: float(f"{v:.5g}") if isinstance(v, float) else v for k, v in result.items()},
            "read_gbs": self._read_gbs,
            "cache_bytes": cache_bytes(self.device),
            **self.machine,
            "revision": short_revision(),
        })  # fmt: skip

    def pending(self, cases: Sequence[TimingCase]) -> list[TimingCase]:
        """Cases to measure: new ones, and those that failed or did not fit into memory.

        Timeouts are not retried.
        """
        final = ("ok", "not measured")
        return [
            case
            for case in cases
            if not (row := self.get(case)) or not row["status"].startswith(final)
        ]


def open_csv(path: Path) -> KeyedTable:
    """The rows in `path` by case, sorted by size and then by projector.

    Raises:
        UserError: if the file is not a table of timings.
    """
    order = {name: i for i, name in enumerate(projectors.names())}

    def position(row: dict[str, Any]) -> tuple[Any, ...]:
        return row["native"], row["dim"], order.get(row["projector"], len(order)), row["dtype"]

    return KeyedTable(path, KEY, TEXT, position)


def read_frame(path: Path) -> pd.DataFrame:
    """The rows of a timing csv as a frame, NaN where a case was not measured.

    Raises:
        UserError: as `open_csv`.
    """
    frame = pd.DataFrame(open_csv(path).sorted())
    absent = [name for name in MEASURED if name not in frame]  # no case was measured
    return frame.assign(**dict.fromkeys(absent, float("nan")))


def short_revision() -> str:
    """The package's git revision, eight digits; "+" marks uncommitted changes."""
    code = provenance.revision()
    return f"{code['revision'][:8]}{'+' * bool(code['dirty'])}" if code["revision"] else ""


def cache_bytes(device: str) -> int:
    """Bytes of the device's last-level cache; 0 if unknown."""
    if device == "cpu":
        return last_level_cache()
    return int(getattr(torch.cuda.get_device_properties(0), "L2_cache_size", 0))
