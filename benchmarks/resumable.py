"""Trainings that are kept in a csv as each ends: a second call trains only what it lacks."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pandas as pd

from benchmarks import measurements
from subspace_bench.records import provenance

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

CaseType = TypeVar("CaseType", bound="DataclassInstance")
ScoreType = TypeVar("ScoreType", bound="DataclassInstance")


class Trainings(Generic[CaseType, ScoreType]):
    """The score of each case: frozen dataclasses, whose fields are the columns of the csv.

    Arguments:
        name, out: of the csv and json, as in `measurements`.
        case: the class of cases.
        score: the class of scores; its last field is `seconds`, filled in here: CPU seconds of this
            process.
        train: trains a case.
        facts: of the protocol, for the json. Other facts in an existing json stay.
    """

    def __init__(
        self,
        name: str,
        out: Path,
        case: type[CaseType],
        score: type[ScoreType],
        train: Callable[[CaseType], ScoreType],
        facts: dict[str, Any],
    ) -> None:
        self.name, self.out, self.train = name, out, train
        self.facts = {**provenance.machine(), **facts}
        self.scores: dict[CaseType, ScoreType] = {}
        if (out / f"{name}.csv").is_file():
            known = measurements.load(name, out)
            self.facts = {**known.facts, **self.facts}
            of = len(fields(case))
            for row in known.numbers.itertuples(index=False, name=None):
                self.scores[case(*row[:of])] = score(*row[of:])

    def __call__(self, case: CaseType) -> ScoreType:
        """The score of a case, trained if it is new."""
        if case not in self.scores:
            start = time.process_time()
            score = self.train(case)
            seconds = round(time.process_time() - start, 1)
            self.scores[case] = replace(score, **{fields(score)[-1].name: seconds})
            rows = [asdict(c) | asdict(s) for c, s in self.scores.items()]
            measurements.save(self.name, self.out, pd.DataFrame(rows), self.facts)
            print(*rows[-1].values(), flush=True)
        return self.scores[case]
