"""What a run will take, before it is trained: seconds, memory, disk.

Where there is a record of the same training (with any seed or length) its own figures are scaled;
elsewhere they are estimated from the model's multiply-adds and the bytes of P.
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

# Fitted to this package's runs on one thread each of a 2-core AVX-512 server, both cores busy.
PER_UPDATE = 0.9e-3  # seconds: batch, dropout masks, autograd, Adam, whatever the net
CONV_RATE = 120e9  # operations a second, two a multiply-add, forward and backward of convolutions
DENSE_RATE = 95e9  # of dense layers
SCORE_RATE = 80e9  # of the forward passes that score
START = 4.0  # seconds until a worker has imported torch and read the data
LAPACK_QR_RATE = 2.5e10  # operations a second, float64
CUDA = 20  # how many times faster a GPU is taken to be, but for PER_UPDATE

# Bytes.
BASE_MEMORY = 1_050_000_000  # a worker's: Python, torch, MNIST and the activations of scoring
PARENT_MEMORY = 1_200_000_000  # of the process that writes tables and figures: 0.5 to 1.15 GB seen
RECORD, ROW = 2_000, 60  # a record without its curve, and a row of the curve

IMAGES = {"mnist-5k": 1_000}  # test images, where they are not 10,000


@dataclass(frozen=True)
class Cost:
    """What one run takes: seconds of set-up and training, bytes of memory and disk."""

    set_up: float
    training: float
    memory: float
    disk: float

    @property
    def seconds(self) -> float:
        return self.set_up + self.training


def estimator(records: Iterable[Record]) -> Callable[[RunConfig], Cost]:
    """A function from a run to its expected cost, which knows these records' figures."""
    known: dict[RunConfig, Record] = {}
    for record in records:
        known.setdefault(training_of(record.run), record)

    def expected(run: RunConfig) -> Cost:
        guess = estimate(run)
        record = known.get(training_of(run))
        if record is None:
            return guess
        facts, updates = record.provenance, record.run.protocol.steps
        return replace(
            guess,
            set_up=facts["seconds_set_up"],
            training=facts["seconds_training"] * run.protocol.steps / updates,
            memory=facts["peak_memory_mb"] * 1e6,
        )

    return expected


def training_of(run: RunConfig) -> RunConfig:
    """The run without its seed and length: what takes the same time for an update."""
    return replace(run, seed=0, numerics=0).with_steps(1)


def estimate(run: RunConfig) -> Cost:
    """The cost of a run of which there is no record.

    Raises:
        UserError: for an unknown model or projector.
    """
    conv, dense, native = work(run.model)
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
def work(model: str) -> tuple[int, int, int]:
    """Multiply-adds of one image in convolutions and in dense layers, and D; from the built net."""
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
    """How long runs take that are begun in this order, `jobs` at a time."""
    ends = [START] * max(1, jobs)
    for cost in costs:
        first = ends.index(min(ends))
        ends[first] += cost.seconds
    return max(ends)


def jobs_that_fit(costs: Sequence[Cost], jobs: int, memory: float) -> int:
    """The most jobs, up to `jobs` and at least one, that take no more than `memory` together."""
    while jobs > 1 and memory_together(costs, jobs) > memory:
        jobs -= 1
    return jobs


def memory_together(costs: Sequence[Cost], jobs: int) -> float:
    """Bytes that the largest `jobs` runs take at a time, and the process that starts them."""
    return PARENT_MEMORY + sum(sorted((c.memory for c in costs), reverse=True)[:jobs])
