"""The results of a stage: one line of JSON per event in `<stage>.jsonl`, appended as it happens.

A line that has an item but no end means that the process died within the item.
"""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STARTED = "started"
Row = dict[str, Any]


@dataclass
class Log:
    """The rows of a stage.

    Attributes:
        rows: item → its last row.
        planned: the names of all items, in order.
    """

    path: Path
    rows: dict[str, Row] = field(default_factory=dict)
    planned: list[str] = field(default_factory=list)

    @classmethod
    def read(cls, path: Path) -> Log:
        """The rows in a file; a last line that was cut off is ignored."""
        log = cls(path)
        lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
        for line in lines:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if "planned" in row:
                log.planned = row["planned"]
            else:
                log.rows[row["item"]] = row
        return log

    def write(self, row: Row) -> None:
        """Appends a row."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
        if "item" in row:
            self.rows[row["item"]] = row

    def start(self, item: str, limit: float) -> None:
        """Says that an item starts, and how many seconds it may take."""
        self.write({"item": item, "status": STARTED, "limit": limit, "time": time.time()})

    @property
    def running(self) -> Row | None:
        """The row of the item that has started and not ended."""
        return next((row for row in self.rows.values() if row["status"] == STARTED), None)

    @property
    def successes(self) -> int:
        """How many items are done."""
        return sum(row["status"] == "ok" for row in self.rows.values())

    def forget_unsuccessful(self) -> None:
        """Keeps only items that are done, so that the others are tried again."""
        kept = {name: row for name, row in self.rows.items() if row["status"] == "ok"}
        if kept != self.rows:
            self.path.unlink()
            self.rows = {}
            for row in kept.values():
                self.write(row)
