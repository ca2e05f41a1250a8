"""One training step of sharded models, plain and in subspaces: writes results/sharded.md.

    python -m benchmarks.sharded [--ranks 1 2 4] [--rebuild]

Each rank is a process with one thread, and they talk over gloo. FSDP2 shards the models block by
block; each rank has one random image. Every round has a plain step with Adam, then one of the
subspace, so that both meet the same load. Three minutes on two idle cores, 3 GB.
"""

from __future__ import annotations

import functools
import gc
import multiprocessing
import os
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
import torch
import torch.distributed as dist
import torchvision
from torch import nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from torch.distributed.tensor import DTensor

from benchmarks import measurements
from benchmarks.measurements import Measurements
from subspace_bench.common.hardware import (
    peak_memory,
    release_free_memory,
    reset_peak_memory,
    resident_memory,
)
from subspace_bench.records.provenance import machine
from subspace_bench.reporting.page import Page
from subspace_bench.reporting.render import write_page
from subspace_bench.subspace import ShardedSubspace

SIZE = 112  # of images: half the usual side, for a transformer with a quarter of the tokens
MODELS: dict[str, Callable[[], nn.Module]] = {
    "ResNet-18": torchvision.models.resnet18,
    "ViT-B/16": functools.partial(torchvision.models.vit_b_16, image_size=SIZE),
}
BLOCKS = (torchvision.models.resnet.BasicBlock, torchvision.models.vision_transformer.EncoderBlock)
# d; every entry of a regenerated projector is computed, so its time grows with D·d.
CHEAP = {"hashed": 1_000, "fastfood": 1_000}
METHODS = {
    "ResNet-18": {**CHEAP, "regenerated-signs": 100, "regenerated": 10},
    "ViT-B/16": CHEAP,
}
ROUNDS = {"ResNet-18": 2, "ViT-B/16": 1}
PLAIN = "plain"
Columns = dict[str, tuple[str, float, str]]  # title → key, unit, format
MEMORY: Columns = {"kept": ("kept", 2**20, "{:.0f} MB"), "peak": ("peak", 2**20, "{:.0f} MB")}
TIME: Columns = {"CPU time": ("seconds", 1.0, "{:.2f} s"), "over plain": ("ratio", 1.0, "{:.2f}")}


def model(name: str) -> nn.Module:
    """A sharded model with small random weights, never whole on a rank."""
    with torch.device("meta"):
        net = MODELS[name]()
    mesh = init_device_mesh("cpu", (dist.get_world_size(),))
    for part in net.modules():
        if isinstance(part, BLOCKS):
            fully_shard(part, mesh=mesh)
    fully_shard(net, mesh=mesh)
    net.to_empty(device="cpu")
    with torch.no_grad():
        for p in net.parameters():
            assert isinstance(p, DTensor)
            p.to_local().uniform_(-0.03, 0.03)
        for b in net.buffers():
            b.fill_(1.0)
    return net


def step_of(net: nn.Module, trained: list[nn.Parameter]) -> Callable[[], float]:
    """A training step; returns its CPU seconds, which depend less on the load than its duration."""
    optimizer = torch.optim.Adam(trained, lr=1e-3)
    image = torch.randn(1, 3, SIZE, SIZE, generator=torch.Generator().manual_seed(dist.get_rank()))

    def step() -> float:
        begin = time.process_time()
        optimizer.zero_grad()
        net(image).square().mean().backward()
        optimizer.step()
        return time.process_time() - begin

    return step


def settled_memory() -> int:
    gc.collect()
    release_free_memory()
    return resident_memory()


def warm_up(methods: dict[str, int]) -> None:
    """Compiles kernels and imports what steps need, which would count as memory of the first."""
    for method in (PLAIN, *methods):
        parts = nn.Conv2d(3, 4, 16, 16), nn.Flatten(), nn.Linear(4 * (SIZE // 16) ** 2, 1_000)
        net: nn.Module = nn.Sequential(*parts)
        fully_shard(net)
        if method != PLAIN:
            net = ShardedSubspace(net, methods[method], method)
        step_of(net, list(net.parameters()))()


def measure(name: str) -> Iterator[dict[str, Any]]:
    """The rows of one rank."""
    warm_up(METHODS[name])
    before = settled_memory()
    plain = model(name).eval()  # batch norm needs more than one image to train
    plain_step = step_of(plain, list(plain.parameters()))
    plain_step()
    kept = settled_memory() - before
    reset_peak_memory()
    seconds = plain_step()
    native = sum(p.numel() for p in plain.parameters())
    common = {"model": name, "native": native, "ranks": dist.get_world_size()}
    memory = {"kept": kept, "peak": peak_memory() - before}
    yield {**common, "method": PLAIN, **memory, "seconds": seconds}
    for projector, dim in METHODS[name].items():
        before = settled_memory()
        net = ShardedSubspace(model(name).eval(), dim, projector)
        ours_step = step_of(net, [net.omega])
        ours_step()
        kept = settled_memory() - before
        pairs = []
        for _ in range(ROUNDS[name]):
            plain_time = plain_step()
            settled_memory()
            reset_peak_memory()
            pairs.append((ours_step(), plain_time))
        memory = {"kept": kept, "peak": peak_memory() - before}
        seconds, plain_seconds = np.array(pairs).T
        yield {
            **common, "method": projector, "dim": dim, **memory,
            "seconds": float(np.median(seconds)),
            "ratio": float(np.median(seconds / plain_seconds)),
        }  # fmt: skip
        del net, ours_step


def run_rank(rank: int, ranks: int, name: str, folder: str) -> None:
    """Measures as one of the ranks; the first writes the largest memory of all."""
    torch.set_num_threads(1)
    store = f"file://{folder}/store-{name.replace('/', '-')}-{ranks}"
    dist.init_process_group("gloo", store, timedelta(hours=1), world_size=ranks, rank=rank)
    rows = []
    for row in measure(name):
        memory = torch.tensor([row["kept"], row["peak"]])
        dist.all_reduce(memory, dist.ReduceOp.MAX)
        rows.append({**row, "kept": int(memory[0]), "peak": int(memory[1])})
    if rank == 0:
        torch.save(rows, Path(folder) / "rows.pt")
    dist.destroy_process_group()


def run_ranks(ranks: int, name: str) -> list[dict[str, Any]]:
    """The rows of one model on some ranks."""
    # Freed memory goes back to the system at once, so that what a process keeps can be read.
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"
    context = multiprocessing.get_context("spawn")
    with TemporaryDirectory() as folder:
        processes = [
            context.Process(target=run_rank, args=(rank, ranks, name, folder))
            for rank in range(ranks)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        rows: list[dict[str, Any]] = torch.load(Path(folder) / "rows.pt")
    return rows


def page(stored: Measurements) -> Page:
    """The page results/sharded.md."""
    numbers, facts = stored.numbers, stored.facts
    tables = {
        f"{'resnet' if name == 'ResNet-18' else 'vit'}_{kind}": table(rows, columns)
        for name, rows in numbers.groupby("model", sort=False)
        for kind, columns in (("memory", MEMORY), ("time", TIME))
    }
    vit = numbers[numbers["model"] == "ViT-B/16"]
    kept = vit.pivot(index="ranks", columns="method", values="kept") / 2**20
    ratios = vit[vit["method"] == "hashed"].set_index("ranks")["ratio"]
    few, many = kept.index.min(), kept.index.max()
    summary = (
        f"ViT-B/16 in a subspace of {CHEAP['hashed']:,} dimensions (hashed) keeps "
        f"{kept['hashed'][few]:.0f} MB on {few} rank and {kept['hashed'][many]:.0f} MB on each of "
        f"{many}; trained in full with Adam, {kept[PLAIN][few]:.0f} MB and "
        f"{kept[PLAIN][many]:.0f} MB. "
        f"A step takes {ratios.min():.2f} to {ratios.max():.2f} times that of plain training."
    )
    return Page(
        "sharded",
        "What does a subspace of a sharded model cost?",
        summary,
        tables,
        stored.text,
        {"facts": facts, "rounds": ROUNDS},
        command="python -m benchmarks.sharded --rebuild",
    )


def table(rows: pd.DataFrame, columns: Columns) -> pd.DataFrame:
    """Of one model: a row for each method, and each column once for all numbers of ranks."""
    plain_first = rows.drop_duplicates("method").set_index("method")["dim"]
    found = {
        "method": list(plain_first.index),
        "d": ["" if np.isnan(dim) else f"{dim:,.0f}" for dim in plain_first],
    }
    for title, (key, unit, form) in columns.items():
        wide = rows.pivot(index="method", columns="ranks", values=key).loc[plain_first.index]
        for ranks in sorted(set(rows["ranks"])):
            cells = ["" if np.isnan(x) else form.format(x / unit) for x in wide[ranks]]
            found[f"{title}, {ranks} rank{'s' if ranks > 1 else ''}"] = cells
    return pd.DataFrame(found)


def main() -> None:
    parser = measurements.options(__doc__)
    parser.add_argument("--ranks", type=int, nargs="+", default=[1, 2, 4])
    options = parser.parse_args()
    if not options.rebuild:
        rows, loads = [], []
        for name in MODELS:
            for ranks in options.ranks:
                rows += run_ranks(ranks, name)
                loads.append(os.getloadavg()[1])
                print(pd.DataFrame(rows).to_string(), flush=True)
                facts = {
                    "machine": {k: machine()[k] for k in ("cpu", "python", "torch")},
                    "cores": os.cpu_count(),
                    "size": SIZE,
                    "load": max(loads),
                }
                measurements.save("sharded", options.out, pd.DataFrame(rows), facts)
    stored = measurements.load("sharded", options.out)
    print(*write_page(page(stored), options.out), sep="\n")


if __name__ == "__main__":
    main()
