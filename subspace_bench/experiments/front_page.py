"""What `results/index.html` shows besides the pages: charts and records, as plain data.

Samples, curves and timings are those of the pages; the script of the file only draws them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from subspace_bench.common.formatting import format_significant
from subspace_bench.experiments import claims, projectors, published, subspace, tutorials
from subspace_bench.experiments import ultra_small as small
from subspace_bench.experiments.best_entries import best_entries
from subspace_bench.experiments.comparison_table import Points
from subspace_bench.experiments.curves import stacked
from subspace_bench.experiments.projector_accuracy import DIMS, accuracies, final_run
from subspace_bench.experiments.study import Evidence
from subspace_bench.profiling.derived import successful, with_derived
from subspace_bench.profiling.recommendation import AccuracyComparison, format_peak, why_not
from subspace_bench.profiling.table import read_frame
from subspace_bench.records.config import RunConfig
from subspace_bench.records.store import Record
from subspace_bench.reporting.index_html import Section, write_html
from subspace_bench.reporting.page import Page
from subspace_bench.reporting.page_list import read_start
from subspace_bench.training import presets

MOST_BYTES = 1 << 20  # of a page that is read
RECIPE = "hashed"  # the projector of the series with our recipe
MACHINE = ("cpu", "cpu_capability", "gpu", "python", "torch", "numpy", "numba", "subspace-bench")
Row = dict[str, Any]


def write_front_page(
    evidence: Evidence,
    pages: Sequence[Page],
    committed: Sequence[Record],
    local: Sequence[Record],
    found: Mapping[str, str],
    out: Path,
) -> Path:
    """Writes `index.html` from all pages of the suite, and the other pages in the folder.

    Arguments:
        pages: of the evidence, at least one.
        found: the values of `findings`.
        out: a folder with the index of pages, `README.md`.
    """
    shown = {
        "source": published.load("post")["source"],
        "question": published.load("post")["source"]["question"],
        "answer": headline(evidence.at_full_length()),
        **found,
        "notices": pages[0].notices,
    }
    data = chart_data(evidence, committed, local, out)
    return write_html(sections(pages, out), shown, data, out)


def headline(evidence: Evidence) -> list[Row]:
    """Our accuracies beside those of the post's main table."""
    return [
        {"trained": f"{row['free']:,}", "post": f"{row['accuracy']:.1f}",
         "ours": evidence.sample(presets.post("conv", dim, subspace.EPOCHS)).show()}
        for dim, row in zip(subspace.dims(), subspace.rows(), strict=True)
    ]  # fmt: skip


def sections(pages: Sequence[Page], out: Path) -> list[Section]:
    """The parts of the index, the given pages, then the other pages in the folder by name."""
    _, *parts = read_start(out / "README.md").split("\n## ")
    head = [Section(slug(part.split("\n", 1)[0]), f"# {part}") for part in parts]
    given = [Section.of(page) for page in pages]
    others = {path.stem: read_start(path, MOST_BYTES) for path in sorted(out.glob("*.md"))}
    known = {page.name for page in pages} | {"README", "INDEX"}
    return [
        *head,
        *given,
        *(Section(name, text) for name, text in others.items() if text and name not in known),
    ]


def slug(title: str) -> str:
    """The anchor of a heading, as GitHub makes it of plain words."""
    return "-".join(title.lower().split())


def chart_data(
    evidence: Evidence, committed: Iterable[Record], local: Iterable[Record], out: Path
) -> dict[str, Any]:
    """Everything that the script of the file reads.

    Arguments:
        out: folder of the timing tables `projectors-*.csv` and of `leaderboard.csv`.
    """
    found, tables = collect_records([*committed], [*local])
    number = {record[0]: i for i, record in enumerate(found)}
    return {
        "answer": [*answer(evidence.at_full_length(), number), *best_entries(out)],
        "curves": curves(evidence, number),
        "projectors": [timings(evidence, path) for path in sorted(out.glob("projectors-*.csv"))],
        "records": found,
        **tables,
    }


def collect_records(
    committed: Sequence[Record], local: Sequence[Record]
) -> tuple[list[list[Any]], dict[str, list[Any]]]:
    """Every record in one list, and what many share (configuration, machine, revision) once.

    A record is [name, configuration, seed, accuracy, accuracy at the end, update at which it
    diverged, seconds, megabytes, machine, revision, whether it is local].
    """
    shared: dict[str, dict[tuple[Any, ...], int]] = {"configs": {}, "machines": {}, "revisions": {}}

    def index(kind: str, content: Mapping[str, Any]) -> int:
        key = tuple((k, f"{v}") for k, v in content.items() if v is not None)
        return shared[kind].setdefault(key, len(shared[kind]))

    records = []
    origin = {record.run.name: (record, True) for record in local}
    origin |= {record.run.name: (record, False) for record in committed}
    for name, (record, is_local) in sorted(origin.items()):
        facts, result = record.provenance, record.result
        revision = {"revision": facts.get("revision"), "sources": facts.get("sources_sha256")}
        if facts.get("dirty"):
            revision["state"] = "with changes that were not committed"
        records.append(
            [
                name,
                index("configs", configuration(record.run)),
                record.run.seed,
                result["accuracy"],
                result["accuracy_end"],
                result.get("diverged"),
                facts["seconds_training"],
                facts["peak_memory_mb"],
                index("machines", {key: facts.get(key) for key in MACHINE}),
                index("revisions", revision),
                int(is_local),
            ]
        )
    return records, {kind: [dict(key) for key in keys] for kind, keys in shared.items()}


def configuration(run: RunConfig) -> dict[str, Any]:
    """The fields of a run and of its protocol, without the seed."""
    fields = asdict(run)
    protocol = fields.pop("protocol")
    fields.pop("seed")
    return {**fields, **protocol}


def answer(evidence: Evidence, number: Mapping[str, int]) -> list[Row]:
    """Accuracies over the number of trained parameters, ours and the post's."""
    rows: list[Row] = []

    def add(series: str, trained: int, run: RunConfig, post: float | None = None) -> None:
        # Only subspaces of one net lie on a line.
        joined = run.model in ("conv", "conv-plain", "fc")
        for local in (False, True):
            sample = evidence.sample(run, local)
            if sample.n:
                names = [record.run.name for record in evidence.records(run, local)]
                rows.append(
                    {"series": series, "source": "local" if local else "ours", "trained": trained,
                     "joined": joined,
                     "accuracy": round(sample.mean, 4), "low": min(sample.values),
                     "high": max(sample.values), "text": sample.show(),
                     "records": [number[name] for name in names if name in number]}
                )  # fmt: skip
        if post is not None and evidence.comparable:
            rows.append({"series": series, "source": "the post", "trained": trained,
                         "accuracy": post, "text": f"{post:g}"})  # fmt: skip

    printed = {row["free"]: row["accuracy"] for row in subspace.rows()}
    for dim in (*sorted({*claims.dims(), *(d for d in subspace.dims() if d)}), None):
        trained = dim or presets.native("conv")
        run = presets.post("conv", dim, subspace.EPOCHS)
        add("conv net, 100 epochs", trained, run, printed.get(trained))
    for start, name in ((small.CONV_FRESH, "conv net"), (small.FC_FRESH, "FC net")):
        for dim in small.DIMS:
            post = small.published_end(start.net, dim)[0].value
            add(f"{name}, 10 epochs", dim or presets.native(start.net), start.run(dim), post)
    for dim in DIMS:
        if recipe := final_run(RECIPE, dim):
            add("conv net, our recipe, 10 epochs", dim, recipe)
    for row in published.load("post")["mnist-lite"]["rows"]:
        run = presets.lite(row["model"])
        add("MNIST-lite nets, 10 epochs", presets.native(row["model"]), run, row["accuracy"])
    for row in tutorials.rows():
        post = tutorials.published_accuracy(row).value
        add("tutorials' nets", tutorials.counts()[row["id"]], presets.tutorial(row["id"]), post)
    return rows


def curves(evidence: Evidence, number: Mapping[str, int]) -> list[Row]:
    """Accuracies over steps: each seed, their mean and range, and the published points."""
    groups: list[tuple[str, str, int | None, RunConfig, Points | None]] = []
    for draws, label in (("streams", "fresh draws"), ("author", "author's draws")):
        for dim in sorted(subspace.dims(), key=lambda d: d or math.inf):
            run = presets.post("conv", dim, subspace.EPOCHS, draws=draws)
            groups.append(("conv net, 100 epochs", label, dim, run, subspace.curve_of(dim)))
    for start in (small.CONV, small.CONV_CODE, small.CONV_FRESH, small.CONV_WIDE, small.FC,
                  small.FC_FRESH):  # fmt: skip
        net = {"conv": "conv net", "fc": "FC net"}[start.net]
        for dim in small.DIMS:
            points = small.published_curve(start.net, dim)
            groups.append((f"{net}, 10 epochs", start.label, dim, start.run(dim), points))
    found = []
    for net, label, dim, run, points in groups:
        size = f"{dim:,}" if dim else "D"
        shown = {
            source: curve(records, number)
            for source, local in (("ours", False), ("local", True))
            if (records := evidence.records(run, local)) and stacked(records)[0].size
        }
        if shown:
            posts = [] if points is None or not evidence.comparable else zip(*points, strict=True)
            dots = [[step, value] for step, value in posts if not math.isnan(value)]
            found.append({"net": net, "start": label, "d": size, "post": dots, **shown})
    return found


def curve(records: Sequence[Record], number: Mapping[str, int]) -> Row:
    """The accuracies of records at the steps at which all were scored."""
    steps, values = stacked(records)
    return {
        "steps": steps.tolist(),
        "mean": values.mean(0).round(4).tolist(),
        "seeds": [record.run.seed for record in records],
        "values": values.tolist(),
        "records": [number[r.run.name] for r in records if r.run.name in number],
    }


def timings(evidence: Evidence, path: Path) -> Row:
    """The measured cases of one timing table, fastest first, and which may be recommended."""
    frame = read_frame(path)
    accuracy = AccuracyComparison.of(accuracies(evidence))
    measured = successful(with_derived(frame)).sort_values(["native", "dim", "ms"], kind="stable")
    machine = projectors.machine_table(frame, 0).set_index("")["value"]
    rows = [
        {"projector": row["projector"], "D": int(row["native"]), "d": int(row["dim"]),
         "time": format_significant(row["ms"]), "memory": format_peak(row["peak_bytes"]),
         "ms": significant(row["ms"]), "forward": significant(row["forward_ms"]),
         "transpose": significant(row["transpose_ms"]), "setup": significant(row["setup_s"]),
         "peak": int(row["peak_bytes"]), "why": why_not(row, accuracy),
         "accuracy": accuracy.at_nearest(row["projector"], int(row["dim"])),
         "revision": row["revision"]}
        for row in measured.to_dict("records")
    ]  # fmt: skip
    return {"device": machine["device"], "versions": machine["versions"], "rows": rows}


def significant(value: float) -> float:
    """A measurement with the digits that matter."""
    return float(f"{value:.4g}")
