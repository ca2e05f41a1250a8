"""Damaged files: each is found and named, or changes no result; no code runs from a file."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import random
import zlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.torture import damaged_tables, tiny
from benchmarks.torture.campaigns import Row, Setting
from benchmarks.torture.files import try_file
from benchmarks.torture.nonsense import mutated, put_nonsense
from subspace_bench.common.errors import UserError
from subspace_bench.common.files import digest
from subspace_bench.datasets import catalog
from subspace_bench.datasets.embedded import embedded_digits
from subspace_bench.datasets.idx import read_idx
from subspace_bench.records.store import Store, read_record
from subspace_bench.training.checkpoint import Checkpoint, sealed, verified
from subspace_bench.training.loop import Interrupted, prepare, train
from subspace_bench.training.optimizers import make_optimizer

RESULTS = Path(__file__).parents[2] / "results"
Read = Callable[[Path], Any]


def rows(setting: Setting) -> Iterator[Row]:
    tiny.shrink(setting.work)
    draw = random.Random(setting.seed)
    yield from damage_records(setting, draw)
    yield from damage_checkpoints(setting, draw)
    yield from damaged_tables.rows(setting, draw)
    yield damage_images(setting, draw)


def damage_records(setting: Setting, draw: random.Random) -> Iterator[Row]:
    store = Store(setting.work / "runs")
    record = train(tiny.runs()[2], embedded_digits())
    store.put(record)
    path = store.path(record.run)
    data = path.read_bytes()

    def equal(other: Any) -> bool:
        return other is not None and (other.run, other.result) == (record.run, record.result)

    row, found = Row("records: bytes damaged, or another file in its place"), 0
    for _ in range(setting.times(400, 60)):
        found += try_file(row, path, *mutated(data, draw), read_record, equal)
    row.measured = f"{found} reported, {row.times - found} changed no result"
    yield row

    row, found = Row("records: nonsense whose digest was made to fit"), 0
    for _ in range(setting.times(400, 60)):
        what, text = forged_record(data.decode(), draw)

        def sensible(other: Any) -> bool:
            curve = other.result["curve"]
            return other.run == record.run and all(0 <= score <= 100 for _, score, _ in curve)

        found += try_file(row, path, what, text.encode(), read_record, sensible)
    row.measured = f"{found} reported"
    yield row

    row = Row("records: folders, pipes, dangling and circular links")
    path.unlink()
    for kind in ("folder", "pipe", "dangling", "circular"):
        if kind == "folder":
            path.mkdir()
        elif kind == "pipe":
            os.mkfifo(path)
        else:
            path.symlink_to("nowhere" if kind == "dangling" else path.name)
        try:
            found_records = list(store.records())
            row.count(*([] if kind == "dangling" and not found_records else [f"{kind}: passed"]))
        except UserError as failure:
            row.count(*([] if path.name in str(failure) else [f"{kind}: {failure}"]))
        path.rmdir() if kind == "folder" else path.unlink()
    yield row


def forged_record(text: str, draw: random.Random) -> tuple[str, str]:
    """A record in which one value is nonsense, or a key occurs twice."""
    content = json.loads(text)
    if draw.random() < 0.1:
        key = draw.choice(list(content))
        line = f'"{key}": '
        return f"{key} twice", text.replace(line, f"{line}1, {line}", 1)
    what = put_nonsense(content, draw, avoid=("result_sha256",))
    with contextlib.suppress(TypeError, ValueError, KeyError):
        content["result_sha256"] = digest(content["result"])
    return what, json.dumps(content)


def damage_checkpoints(setting: Setting, draw: random.Random) -> Iterator[Row]:
    run, path = tiny.runs()[0], setting.work / "run.checkpoint"
    asked = iter(range(1, 1_000))
    with contextlib.suppress(Interrupted):
        train(run, embedded_digits(), path, should_stop=lambda: next(asked) == 60)
    data = path.read_bytes()
    net = prepare(run)
    optimizer = make_optimizer(run, net)

    def read(path: Path) -> Any:
        return Checkpoint(path, run).load(optimizer, net.module)

    original = read(path)
    row = Row("checkpoints: bytes damaged, or another file in its place")
    for _ in range(setting.times(300, 50)):
        what, damaged = mutated(data, draw)
        try_file(row, path, what, damaged, read, lambda state: False)
    row.measured = f"{row.times - len(row.wrong)} reported; training then starts over"
    yield row

    row = Row("checkpoints: nonsense whose digest was made to fit")
    for _ in range(setting.times(200, 20)):
        content = torch.load(io.BytesIO(verified(data)), weights_only=True)
        what = put_nonsense(content, draw)
        file = io.BytesIO()
        torch.save(content, file)

        def sensible(state: Any) -> bool:
            return (state.updates, state.curve) == (original.updates, original.curve) or all(
                0 <= score <= 100 for _, score, _ in state.curve
            )

        try_file(row, path, what, sealed(file.getvalue()), read, sensible)
    yield row

    row = Row("checkpoints: pickles that would run code")
    mark = setting.work / "code-ran"
    for call in (Path.touch, os.mkdir, os.mkfifo):

        class Malicious:
            def __reduce__(self, call: Any = call) -> tuple[Any, ...]:
                return call, (mark,)

        for content in ({"run": run.hash, "state": Malicious()}, Malicious(), [Malicious()]):
            file = io.BytesIO()
            torch.save(content, file)
            try_file(row, path, "a pickle", sealed(file.getvalue()), read, lambda state: False)
            if mark.exists():
                row.report("code ran from a checkpoint")
    yield row


def damage_images(setting: Setting, draw: random.Random) -> Row:
    folder = setting.work / "MNIST" / "raw"
    folder.mkdir(parents=True)
    source, files = np.random.default_rng(setting.seed), {}
    for name, count in zip(catalog.FILES, (40, 40, 20, 20), strict=True):
        shape = (count, 28, 28) if "images" in name else (count,)
        header = np.array([2048 + len(shape), *shape], ">i4").tobytes()
        files[name] = header + source.integers(0, 10, np.prod(shape), np.uint8).tobytes()
        (folder / name).write_bytes(files[name])
    hashes = tuple(hashlib.sha256(data).hexdigest() for data in files.values())
    known = catalog.IDX_DATASETS["mnist"]
    catalog.IDX_DATASETS["mnist"] = replace(known, sha256=hashes)  # type: ignore[arg-type]
    row = Row("MNIST files, plain and compressed")
    for _ in range(setting.times(300, 40)):
        name = draw.choice(catalog.FILES)
        path, data = folder / name, files[name]
        if draw.random() < 0.3:
            path.unlink()
            path, data = folder / f"{name}.gz", gzip.compress(data)
        what, damaged = mutated(data, draw)

        def read(path: Path) -> Any:
            return read_idx("mnist", folder).digest

        intact = damaged == data
        with contextlib.suppress(OSError, EOFError, zlib.error):
            intact = path.suffix == ".gz" and gzip.decompress(damaged) == files[name]
        try_file(row, path, what, damaged, read, lambda _, intact=intact: intact)  # type: ignore[misc]
        path.unlink()
        (folder / name).write_bytes(files[name])
    return row
