"""Files that were once misread, or ended in a traceback: one line refuses and names each.

A file in `tests/data/fuzz` is called `<reader>-<what is wrong>`. What campaigns find is added.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from subspace_bench.common.errors import UserError
from subspace_bench.profiling.table import read_frame
from subspace_bench.records.store import read_record
from subspace_bench.regression import reference

FILES = sorted((Path(__file__).parent / "data" / "fuzz").iterdir())
READERS = {
    "record": read_record,
    "reference": lambda path: reference.load(path, "make one"),
    "table": read_frame,
}


def test_there_are_files_for_every_reader() -> None:
    assert {path.name.partition("-")[0] for path in FILES} == set(READERS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_damaged_file_is_named_in_one_line(path: Path) -> None:
    with pytest.raises(UserError) as refused:
        READERS[path.name.partition("-")[0]](path)
    assert path.name in str(refused.value)
    assert "\n" not in str(refused.value)
