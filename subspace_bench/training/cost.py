"""The cost of a run before it is trained: seconds, memory and disk.

If there is a record of the same training with any seed or length, its figures are scaled. If not,

    seconds = set-up + steps · (constant + multiply-adds / rate + P's update) + scores · score
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from subspace_bench import models, projectors
from subspace_bench.models import ConvPoolRelu
from subspace_bench.records.config import RunConfig
from subspace_bench.records.store import Record

# Fitted to runs on one thread each of a 2-core AVX-512 server with both cores busy.
PER_UPDATE = 0.9e-3  # seconds for the batch, dropout masks, autograd and Adam of any model
CONV_RATE = 120e9  # operations per second (2 per multiply-add), convolutions, forward and backward
DENSE_RATE = 95e9  # the same for dense layers
SCORE_RATE = 80e9  # the same for the forward passes that score
START = 4.0  # seconds for a worker to import torch and read the dataset
LAPACK_QR_RATE = 2.5e10  # operations per second, float64
CUDA = 20  # CPU threads that a GPU is worth, except for PER_UPDATE

BASE_MEMORY = 1_050_000_000  # bytes of a worker: Python, torch, MNIST, activations when scoring
PARENT_MEMORY = 1_200_000_000  # bytes of the process that writes pages; 0.5 to 1.15 GB observed
RECORD, ROW = 2_000, 60  # bytes of a record without its curve, and of a row of the curve

IMAGES = {"mnist-5k": 1_000}  # test images, if not 10,000


@dataclass(frozen=True)
class Cost:
    """What one run takes.

    Attributes:
        set_up, training: seconds.
        memory, disk: bytes; disk includes the checkpoint.
    """

    set_up: float
    training: float
    memory: float
    disk: float

    @property
    def seconds(self) -> float:
        return self.set_up + self.training


def estimator(records: Iterable[Record]) -> Callable[[RunConfig], Cost]:
    """A function from a run to its expected cost, scaled from the first matching record if any."""
    known: dict[RunConfig, Record] = {}
    for record in records:
        key = without_seed_and_length(record.run)
        if key not in known or seconds_per_update(record) < seconds_per_update(known[key]):
            known[key] = record  # the others ran on a busier machine

    def expected(run: RunConfig) -> Cost:
        cost = estimate(run)
        record = known.get(without_seed_and_length(run))
        if record is None:
            return cost
        facts, updates = record.provenance, record.run.protocol.steps
        return replace(
            cost,
            set_up=facts["seconds_set_up"],
            training=facts["seconds_training"] * run.protocol.steps / updates,
            memory=facts["peak_memory_mb"] * 1e6,
        )

    return expected


def seconds_per_update(record: Record) -> float:
    """Seconds of training for one update."""
    return float(record.provenance["seconds_training"]) / record.run.protocol.steps


def without_seed_and_length(run: RunConfig) -> RunConfig:
    """What runs share whose updates take the same time."""
    return replace(run, seed=0, numerics=0).with_steps(1)


def estimate(run: RunConfig) -> Cost:
    """The cost of a run, from its model, projector and protocol alone.

    Raises:
        UserError: for an unknown model or projector.
    """
    conv, dense, native = count_operations(run.model)
    protocol, faster = run.protocol, CUDA if run.device == "cuda" else run.threads
    scores = 1 + (protocol.steps - protocol.score_first) // protocol.score_every
    images = IMAGES.get(run.dataset, 10_000)
    trained = native if run.dim is None else run.dim

    pass_forward_and_back = 3 * 2 * protocol.batch * (conv / CONV_RATE + dense / DENSE_RATE)
    update = PER_UPDATE + pass_forward_and_back / faster
    score = 2 * images * (conv + dense) / SCORE_RATE / faster
    set_up, projection = 0.3, projectors.Footprint(0)
    if run.dim is not None:
        name = run.projector or ""
        projection = projectors.footprint(name, native, run.dim)
        predicted = projectors.predicted_seconds(name, native, run.dim, faster)
        set_up += predicted.set_up
        update += predicted.update
        if run.draws == "author":  # QR of all columns in float64: A, Q and LAPACK's workspace
            set_up += 4 * native * run.dim**2 / LAPACK_QR_RATE / faster
            projection = replace(projection, workspace_bytes=4 * 8 * native * run.dim)
    return Cost(
        set_up=set_up,
        training=protocol.steps * update + scores * score,
        memory=BASE_MEMORY + projection.resident_bytes + projection.workspace_bytes + 24 * native,
        disk=RECORD + ROW * scores + 4 * (3 * trained + native),
    )


@functools.cache
def count_operations(model: str) -> tuple[int, int, int]:
    """Multiply-adds for one image in convolutions and in dense layers, and D, of a built model."""
    net = models.build(model).to("meta").eval()
    counts = {"conv": 0, "dense": 0}

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        weight = module.get_parameter("weight")
        if isinstance(module, nn.Linear):
            counts["dense"] += weight.numel()
        elif isinstance(module, nn.Conv2d):
            counts["conv"] += weight.numel() * output.shape[2:].numel()
        elif isinstance(module, ConvPoolRelu):
            before_pooling = inputs[0].shape[2] + 2 * module.padding - weight.shape[2] + 1
            counts["conv"] += weight.numel() * before_pooling**2

    for module in net.modules():
        if isinstance(module, (nn.Linear, nn.Conv2d, ConvPoolRelu)):
            module.register_forward_hook(count)
    with torch.no_grad():
        net(torch.empty(1, 1, 28, 28, device="meta"))
    return counts["conv"], counts["dense"], models.parameter_count(net)


def wall_seconds(costs: Sequence[Cost], jobs: int) -> float:
    """Seconds that runs take which start in this order, `jobs` at a time."""
    ends = [START] * jobs
    for cost in costs:
        next_free = ends.index(min(ends))
        ends[next_free] += cost.seconds
    return max(ends)


def jobs_that_fit(costs: Sequence[Cost], jobs: int, memory: float) -> int:
    """The largest number of jobs, from 1 to `jobs`, whose runs fit into `memory` bytes."""
    while jobs > 1 and memory_together(costs, jobs) > memory:
        jobs -= 1
    return jobs


def memory_together(costs: Sequence[Cost], jobs: int) -> float:
    """Bytes of the `jobs` largest runs and of the process that starts them."""
    return PARENT_MEMORY + sum(sorted((c.memory for c in costs), reverse=True)[:jobs])
