"""Files that were once misread, or ended in a traceback: one line refuses and names each.

A file in `tests/data/fuzz` is called `<reader>-<what is wrong>`. What campaigns find is added.
Where only the content is wrong, the file's digest fits.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from subspace_bench.common.errors import UserError
from subspace_bench.datasets.catalog import FILES as IMAGES
from subspace_bench.datasets.idx import read_idx
from subspace_bench.dimension.trainings import TrainingRow
from subspace_bench.profiling.table import read_frame
from subspace_bench.records.config import RunConfig, TrainingConfig
from subspace_bench.records.store import read_record
from subspace_bench.records.table import KeyedTable
from subspace_bench.regression import reference
from subspace_bench.training.checkpoint import verified

FILES = sorted((Path(__file__).parent / "data" / "fuzz").iterdir())
READERS: dict[str, Callable[[Path], object]] = {
    "images": lambda path: read_idx("mnist", path.parent),
    "checkpoint": lambda path: verified(path.read_bytes()),
    "record": read_record,
    "reference": lambda path: reference.load(path, "make one"),
    "table": read_frame,
    "trainings": lambda path: KeyedTable(path, TrainingRow, ("model", "d", "seed")),
}
RUN = json.loads((FILES[0].parent / "record-1e308.json").read_text())["run"]  # of all records
RECORD = RunConfig(**{**RUN, "protocol": TrainingConfig(**RUN["protocol"])}).name
ALTERED = ("record-wrong-digest", "record-key-twice")  # whose digest does not fit


def test_there_are_files_for_every_reader() -> None:
    assert {path.name.partition("-")[0] for path in FILES} == set(READERS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_damaged_file_is_named_in_one_line(path: Path, tmp_path: Path) -> None:
    reader = path.name.partition("-")[0]
    names = {"record": f"{RECORD}.json", "images": f"{IMAGES[0]}{path.suffix}"}
    copy = tmp_path / names.get(reader, path.name)
    shutil.copy(path, copy)
    expected = ValueError if reader == "checkpoint" else UserError  # `Checkpoint` adds the name
    with pytest.raises(expected) as refused:
        READERS[reader](copy)
    assert copy.name in str(refused.value) or reader == "checkpoint"
    assert "\n" not in str(refused.value)
    if reader == "record" and path.stem not in ALTERED:
        assert refused.value.__cause__ is not None  # its content is refused, not its digest
