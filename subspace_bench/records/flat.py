"""Records as tables, one row a record or one row a score, and the description of their columns.

The description follows Croissant 1.0 (https://docs.mlcommons.org/croissant/docs/croissant-spec.html):
it says where each column stands in the JSON files, so readers of that format need no export.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from subspace_bench import __version__
from subspace_bench.records.store import Record

CURVE = ("record", "updates", "accuracy", "loss")


@dataclass(frozen=True)
class Column:
    """A column.

    Attributes:
        path: where its value stands in a record's file.
        kind: "text", "integer", "number" or "boolean".
        meaning: what it is, for a reader.
        always: whether every file has it. Files written before a field existed lack it, and readers
            of Croissant stop at a missing value.
    """

    path: str
    kind: str
    meaning: str
    always: bool = True

    @property
    def name(self) -> str:
        return self.path.rsplit(".", 1)[-1]


COLUMNS = (
    Column("run.model", "text", "network, a name that `subspace-bench list` shows"),
    Column("run.init", "text", "initialisation of θ, such as normal:0.005"),
    Column("run.dim", "integer", "subspace dimension d; empty if all parameters are trained"),
    Column("run.projector", "text", "projector P; empty if all parameters are trained"),
    Column("run.origin", "text", "zero: θ = Pω; init: θ = θ_init + Pω"),
    Column(
        "run.scaling", "text", "fan-in: rows of P scaled by layer; none: as drawn", always=False
    ),
    Column("run.seed", "integer", "seed of all random streams"),
    Column("run.dataset", "text", "mnist, fashion-mnist or mnist-5k"),
    Column("run.device", "text", "cpu or cuda"),
    Column("run.dtype", "text", "data type of ω and θ"),
    Column("run.threads", "integer", "CPU threads"),
    Column("run.numerics", "integer", "version of the numerics; results of others differ"),
    Column(
        "run.draws", "text", "author: θ_init and P as the post's author drew them", always=False
    ),
    Column("run.batched", "boolean", "trained in one batch with runs of other seeds", always=False),
    Column("run.protocol.steps", "integer", "number of updates"),
    Column("run.protocol.batch", "integer", "images per batch"),
    Column("run.protocol.lr", "number", "learning rate; the peak of a schedule"),
    Column("run.protocol.sampling", "text", "how batches are drawn"),
    Column("run.protocol.scale", "text", "scaling of pixels"),
    Column("run.protocol.train", "text", "which training images are used"),
    Column("run.protocol.optimizer", "text", "adam or sgd"),
    Column("run.protocol.schedule", "text", "schedule of the learning rate"),
    Column(
        "run.protocol.score_on",
        "text",
        "test: the test set; held-out: training images",
        always=False,
    ),
    Column("result.accuracy", "number", "accuracy in % at the last scheduled score, as on pages"),
    Column("result.accuracy_end", "number", "accuracy in % after the last update"),
    Column("result.native_dimension", "integer", "D, the parameters of the network"),
    Column("result.free_parameters", "integer", "number of trained parameters, d or D"),
    Column(
        "result.diverged",
        "integer",
        "update at which the loss was not finite; else empty",
        always=False,
    ),
    Column("result.sha256", "text", "SHA-256 of the trained vector"),
    Column("provenance.seconds_set_up", "number", "seconds before the first update"),
    Column("provenance.seconds_training", "number", "seconds of training and scoring"),
    Column("provenance.peak_memory_mb", "number", "peak memory of the process, in 10⁶ bytes"),
    Column("provenance.cpu", "text", "processor"),
    Column("provenance.torch", "text", "version of PyTorch"),
    Column("provenance.revision", "text", "git revision of the package; empty if unknown"),
    Column("provenance.dirty", "boolean", "whether the package differed from that revision"),
)
KINDS = {"text": "string", "integer": "Int64", "number": "Float64", "boolean": "boolean"}
SCHEMA_ORG = {"text": "sc:Text", "integer": "sc:Integer", "number": "sc:Float",
              "boolean": "sc:Boolean"}  # fmt: skip


def runs_table(records: Iterable[Record]) -> pd.DataFrame:
    """One row a record: its name, then `COLUMNS`; what a record lacks is missing."""
    rows = []
    for record in records:
        content = asdict(record)
        rows.append([record.run.name, *(look_up(content, column.path) for column in COLUMNS)])
    types = {"record": "string"} | {column.name: KINDS[column.kind] for column in COLUMNS}
    return pd.DataFrame(rows, columns=[*types]).astype(types)


def curves_table(records: Iterable[Record]) -> pd.DataFrame:
    """One row a score: record, updates, test accuracy in % and loss of that update's batch."""

    def rows() -> Iterator[tuple[Any, ...]]:
        for record in records:
            for scored in record.result["curve"]:
                yield record.run.name, *scored

    return pd.DataFrame(rows(), columns=[*CURVE])


def look_up(content: dict[str, Any], path: str) -> Any:
    """The value at a path such as `run.protocol.lr`; None if there is none."""
    found: Any = content
    for key in path.split("."):
        found = (found or {}).get(key)
    return found


def croissant() -> dict[str, Any]:
    """The Croissant description of `results/records`."""
    fields = [
        {
            "@type": "cr:Field",
            "@id": f"runs/{column.name}",
            "description": column.meaning,
            "dataType": SCHEMA_ORG[column.kind],
            "source": {
                "fileSet": {"@id": "records"},
                "extract": {"jsonPath": f"$.{column.path}"},
            },
        }
        for column in COLUMNS
        if column.always
    ]
    return {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": "http://mlcommons.org/croissant/1.0",
        "name": "subspace-bench-records",
        "description": "Training runs of MNIST networks in random subspaces: configuration, "
        "accuracy curve, machine and revision of each.",
        "version": __version__,
        "license": "https://spdx.org/licenses/MIT.html",
        "distribution": [
            {
                "@type": "cr:FileSet",
                "@id": "records",
                "description": "One JSON file for each training run.",
                "encodingFormat": "application/json",
                "includes": "records/*.json",
            }
        ],
        "recordSet": [{"@type": "cr:RecordSet", "@id": "runs", "field": fields}],
    }


CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "sc": "https://schema.org/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileSet": "cr:fileSet",
    "includes": "cr:includes",
    "jsonPath": "cr:jsonPath",
    "recordSet": "cr:recordSet",
    "source": "cr:source",
}
