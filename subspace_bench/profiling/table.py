"""The csv of timings, `projectors-<device>.csv`: one row per case, all from one machine.

It provides the numbers of the page and serves as the store: cases in it are not measured again.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NotRequired, TypedDict

import pandas as pd
import torch

from subspace_bench import projectors
from subspace_bench.common.errors import UserError
from subspace_bench.common.files import digest
from subspace_bench.common.hardware import last_level_cache
from subspace_bench.common.locks import exclusive, sweep_lock
from subspace_bench.common.schema import Name, Natural, Pattern, Range, Seconds
from subspace_bench.common.source_digests import module_digest
from subspace_bench.profiling.cases import TimingCase
from subspace_bench.profiling.timing import read_bandwidth
from subspace_bench.records import provenance
from subspace_bench.records.table import KeyedTable

KEY = ("projector", "native", "dim", "device", "dtype")
MACHINE = ("cpu", "cpu_capability", "torch", "numba", "gpu", "threads")
SHARED = (  # modules whose code decides what is measured, besides a projector's and its kernels'
    "subspace_bench.common.large_pages", "subspace_bench.common.rng",
)  # fmt: skip
PARTS = ("ms", "q25", "q75", "n")  # of the time of a product
MEASURED = (  # in every measured case
    "setup_s", "resident_bytes", "peak_bytes",
    *(f"{product}_{part}" for product in ("forward", "transpose") for part in PARTS),
)  # fmt: skip
Time = Annotated[float, Range(1e-12, 1e9)]
Bytes = Annotated[float, Range(0, 1e18)]
Samples = Annotated[float, Range(1, 1e9)]
Ratio = Annotated[float, Range(0, 10)]


class Measured(TypedDict, total=False):
    """The columns that are empty in cases without a measurement."""

    setup_s: Seconds | None
    resident_bytes: Bytes | None
    peak_bytes: Bytes | None
    predicted_bytes: Bytes | None
    forward_ms: Time | None
    forward_q25: Time | None
    forward_q75: Time | None
    forward_n: Samples | None
    transpose_ms: Time | None
    transpose_q25: Time | None
    transpose_q75: Time | None
    transpose_n: Samples | None
    read_ms: Time | None
    read_q25: Time | None
    read_q75: Time | None
    read_n: Samples | None
    # On CUDA only; see `timing.sample_launches`.
    forward_host_ms: Time | None
    forward_graph_ms: Time | None
    transpose_host_ms: Time | None
    transpose_graph_ms: Time | None
    read_host_ms: Time | None
    read_graph_ms: Time | None
    norm_mean: Ratio | None
    norm_sd: Ratio | None
    norm_n: Samples | None
    coherence: Ratio | None
    pairs: Annotated[float, Range(0, 1e9)] | None


class TimingRow(Measured):
    """The columns of the csv."""

    projector: Name
    native: Annotated[int, Range(1, 1e15)]
    dim: Annotated[int, Range(1, 1e15)]
    device: Literal["cpu", "cuda"]
    dtype: Literal["float32", "float64", "bfloat16", "float16"]
    threads: Annotated[int, Range(1, 1e6)]
    status: Annotated[str, Pattern("ok|(not measured|does not fit|failed)(: .*)?")]
    read_gbs: Annotated[float, Range(1e-6, 1e6)]
    cache_bytes: Natural
    cpu: str
    cpu_capability: str
    torch: str
    numba: str
    gpu: str
    revision: str
    sources: NotRequired[Annotated[str, Pattern("([0-9a-f]{8})?")]]
    lost: NotRequired[str]


def require_complete(row: dict[str, Any]) -> None:
    """Checks that a measured case has its numbers, and that they fit together.

    Raises:
        ValueError: if not.
    """
    label = f"{row['projector']} {row['native']} × {row['dim']}"
    if row["dim"] > row["native"]:
        raise ValueError(f"{label}: d is at most D")
    if row["status"] != "ok":
        return
    if lacking := [name for name in MEASURED if math.isnan(row.get(name, math.nan))]:
        raise ValueError(f"{label} is measured, but lacks {lacking[0]}")
    norms, pairs = (row.get(name, math.nan) for name in ("norm_mean", "pairs"))
    needed = ["norm_n", "pairs"] * (not math.isnan(norms)) + ["coherence"] * (pairs > 0)
    if lacking := [name for name in needed if math.isnan(row.get(name, math.nan))]:
        raise ValueError(f"{label} has a distortion, but lacks {lacking[0]}")
    for product in ("forward", "transpose", "read"):
        low, median, high = (
            row.get(f"{product}_{column}", math.nan) for column in ("q25", "ms", "q75")
        )
        if low > median or median > high:
            raise ValueError(f"{label}: the quartiles of {product} exclude its median")


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
        # Whose lock says that a process of this machine measures.
        self._measuring = out / f"projectors-{device}-{digest([*self.machine.values()])[:8]}"
        sweep_lock(self._measuring)
        self._read_gbs: float | None = None  # measured once per session, at the first `put`
        self._open(out)

    def _open(self, out: Path) -> None:
        """Reads this machine's file."""
        self.path, self.foreign = out / f"projectors-{self.device}.csv", None
        self._table = open_csv(self.path)
        if any(self._is_foreign(row) for row in self._table.rows.values()):
            self.foreign = self.path
            suffix = digest([*self.machine.values(), self.threads])[:8]
            self.path = out / f"projectors-{self.device}-{suffix}.csv"
            self._table = open_csv(self.path)

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
            "sources": sources_digest(case.projector, self.device),
        })  # fmt: skip

    @contextlib.contextmanager
    def only_measuring(self, seconds: float, on_wait: Callable[[], None]) -> Iterator[None]:
        """Keeps other processes of this machine from measuring, which would disturb the timings.

        Then it reads the file again: what they have measured is known.

        Arguments:
            seconds: to wait at most.

        Raises:
            Locked: if another process still measures.
        """
        timeout = -1 if math.isinf(seconds) else max(0.0, seconds)
        with contextlib.suppress(OSError):  # which the write reports
            self.path.parent.mkdir(parents=True, exist_ok=True)
        with exclusive(self._measuring, timeout, on_wait):
            self._open(self.path.parent)
            yield

    def pending(self, cases: Sequence[TimingCase]) -> list[TimingCase]:
        """Cases to measure: new ones, those that failed or did not fit into memory, and those
        whose projector's code has changed.

        Timeouts are not retried, unless the code has changed.
        """
        return [case for case in cases if not self._is_final(case)]

    def _is_final(self, case: TimingCase) -> bool:
        row = self.get(case)
        if row is None or not row["status"].startswith(("ok", "not measured")):
            return False
        # Rows older than this column have been measured with other code.
        return bool(row.get("sources", "") == sources_digest(case.projector, self.device))


def open_csv(path: Path) -> KeyedTable:
    """The rows in `path` by case, sorted by size and then by projector.

    Raises:
        UserError: if the file is not a table of timings.
    """
    order = {name: i for i, name in enumerate(projectors.names())}

    def position(row: dict[str, Any]) -> tuple[Any, ...]:
        return row["native"], row["dim"], order.get(row["projector"], len(order)), row["dtype"]

    return KeyedTable(path, TimingRow, KEY, position, require_complete)


def read_frame(path: Path) -> pd.DataFrame:
    """The rows of a timing csv as a frame, NaN where a case was not measured.

    Raises:
        UserError: as `open_csv`, or if the rows are not all of one machine.
    """
    frame = pd.DataFrame(open_csv(path).sorted())
    if frame.empty or any(frame[name].nunique() > 1 for name in ("device", *MACHINE)):
        raise UserError(
            f"{path} has no rows, or rows of several machines: restore it, or move it away to "
            "start again"
        )
    absent = [name for name in MEASURED if name not in frame]  # no case was measured
    return frame.assign(**dict.fromkeys(absent, float("nan")))


def short_revision() -> str:
    """The package's git revision, eight digits; "+" marks uncommitted changes."""
    code = provenance.revision()
    return f"{code['revision'][:8]}{'+' * bool(code['dirty'])}" if code["revision"] else ""


def sources_digest(projector: str, device: str) -> str:
    """A digest of the code behind a projector on a device, eight digits; "" if it does not load."""
    try:
        module = projectors.load(projector).__module__
    except UserError:
        return ""
    kernels = "cpu" if device == "cpu" else "triton"
    rooms = ["subspace_bench.projectors.", f"subspace_bench.kernels.{kernels}", *SHARED]
    if not module.startswith("subspace_bench."):
        rooms.append(module.partition(".")[0])  # of a plug-in
    return module_digest(module, tuple(rooms))[:8]


def cache_bytes(device: str) -> int:
    """Bytes of the device's last-level cache; 0 if unknown."""
    if device == "cpu":
        return last_level_cache()
    return int(getattr(torch.cuda.get_device_properties(0), "L2_cache_size", 0))
