"""Predicts the cost of runs: seconds, memory and disk.

If a record of the same run with any seed or length exists, the prediction scales it. Otherwise

    seconds = set-up + steps · (constant + multiply-adds / rate + P's update) + scores · score
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from subspace_bench import models, projectors
from subspace_bench.models import ConvPoolRelu
from subspace_bench.records.config import RunConfig
from subspace_bench.records.store import Record
from subspace_bench.training.loop import EVALUATION_CHUNK

# Fitted to single-threaded runs on a 2-core AVX-512 server with both cores busy.
PER_UPDATE = 0.9e-3  # seconds for the batch, dropout masks, autograd and Adam of any model
CONV_RATE = 120e9  # operations per second (2 per multiply-add), convolutions, forward and backward
DENSE_RATE = 95e9  # the same for dense layers
SCORE_RATE = 80e9  # the same for the forward passes that score
WORKER_START_SECONDS = 4.0  # seconds for a worker to import torch and read the dataset
LAPACK_QR_RATE = 2.5e10  # operations per second, float64
GPU_THREADS = 20  # CPU threads equivalent to a GPU, except for PER_UPDATE

BASE_MEMORY = 860_000_000  # bytes of a process that trains: Python, torch, MNIST
WORKER_MEMORY = 250_000_000  # more bytes of a worker, which keeps some of earlier runs
BATCH_BYTES = 6.5  # per image and number in it or in a layer's output; 5.6 to 6.6 observed
EVALUATION_BYTES = 12  # per image scored at a time and number in the largest output: two copies
PARENT_MEMORY = 1_200_000_000  # bytes of the process that writes pages; 0.5 to 1.15 GB observed
RECORD_BYTES, ROW_BYTES = 2_000, 60  # of a record without its curve, and of a row of the curve

TEST_IMAGES = {"mnist-5k": 1_000}  # test images, if not 10,000


@dataclass(frozen=True)
class Cost:
    """The cost of one run.

    Attributes:
        set_up, training: seconds.
        memory: bytes of a process that trains this run only.
        disk: bytes, with the checkpoint.
    """

    set_up: float
    training: float
    memory: float
    disk: float

    @property
    def seconds(self) -> float:
        return self.set_up + self.training


def estimator(records: Iterable[Record]) -> Callable[[RunConfig], Cost]:
    """A function from a run to its expected cost, scaled from a matching record, if any."""
    fastest: dict[RunConfig, Record] = {}
    for record in records:
        key = without_seed_and_length(record.run)
        known = fastest.setdefault(key, record)
        same_machine = known.provenance.get("cpu") == record.provenance.get("cpu")
        if same_machine and seconds_per_update(record) < seconds_per_update(known):
            fastest[key] = record  # the other ran while the machine was busier

    def expected(run: RunConfig) -> Cost:
        cost = estimate(run)
        record = fastest.get(without_seed_and_length(run))
        if record is None:
            return cost
        facts, updates = record.provenance, record.run.protocol.steps
        return replace(
            cost,
            set_up=facts["seconds_set_up"],
            training=facts["seconds_training"] * run.protocol.steps / updates,
            memory=max(cost.memory, facts["peak_memory_mb"] * 1e6 - WORKER_MEMORY),
        )

    return expected


def seconds_per_update(record: Record) -> float:
    """Seconds of training for one update."""
    return float(record.provenance["seconds_training"]) / record.run.protocol.steps


def without_seed_and_length(run: RunConfig) -> RunConfig:
    """The run with seed 0 and one step: equal for runs whose updates cost the same."""
    return replace(run, seed=0, numerics=0).with_steps(1)


def estimate(run: RunConfig) -> Cost:
    """The cost of a run, from its model, projector and protocol alone.

    Raises:
        UserError: for an unknown model or projector.
    """
    conv, dense, native = count_operations(run.model)
    protocol, parallel = run.protocol, GPU_THREADS if run.device == "cuda" else run.threads
    scores = 1 + (protocol.steps - protocol.score_first) // protocol.score_every
    images = TEST_IMAGES.get(run.dataset, 10_000)
    trained = native if run.dim is None else run.dim

    pass_forward_and_back = 3 * 2 * protocol.batch * (conv / CONV_RATE + dense / DENSE_RATE)
    update = PER_UPDATE + pass_forward_and_back / parallel
    score = 2 * images * (conv + dense) / SCORE_RATE / parallel
    set_up, projection = 0.3, projectors.Footprint(0)
    if run.dim is not None:
        name = run.projector or ""
        projection = projectors.footprint(name, native, run.dim)
        predicted = projectors.predicted_seconds(name, native, run.dim, parallel)
        set_up += predicted.set_up
        update += predicted.update
        if run.draws == "author":  # QR of all columns in float64: A, Q and LAPACK's workspace
            set_up += 4 * native * run.dim**2 / LAPACK_QR_RATE / parallel
            projection = replace(projection, workspace_bytes=4 * 8 * native * run.dim)
    return Cost(
        set_up=set_up,
        training=protocol.steps * update + scores * score,
        memory=BASE_MEMORY
        + BATCH_BYTES * protocol.batch * (28 * 28 + sum(count_outputs(run.model)))
        + EVALUATION_BYTES * EVALUATION_CHUNK * max(count_outputs(run.model))
        + projection.resident_bytes
        + projection.workspace_bytes
        + 24 * native,
        disk=RECORD_BYTES + ROW_BYTES * scores + 4 * (3 * trained + native),
    )


@functools.cache
def count_operations(model: str) -> tuple[int, int, int]:
    """Multiply-adds per image in convolutions and in dense layers, and D, from a built model."""
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


@functools.cache
def count_outputs(model: str) -> list[int]:
    """Numbers per image in the output of each layer, all of which a training step keeps."""
    net, sizes = models.build(model).to("meta").eval(), []

    def count(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        sizes.append(output.numel())

    for module in net.modules():
        if not list(module.children()):
            module.register_forward_hook(count)
    with torch.no_grad():
        net(torch.empty(1, 1, 28, 28, device="meta"))
    return sizes


@dataclass(frozen=True)
class Workload:
    """The runs of some studies.

    Attributes:
        cases: study name → its runs.
        costs: run → expected cost, for every run of every study.
        pending: the runs to train, cheapest first.
    """

    cases: Mapping[str, Sequence[RunConfig]]
    costs: Mapping[RunConfig, Cost]
    pending: Sequence[RunConfig]

    @property
    def pending_costs(self) -> list[Cost]:
        return [self.costs[run] for run in self.pending]


def plan_workload(
    cases: Mapping[str, Sequence[RunConfig]],
    local: Collection[Record],
    committed: Iterable[Record] = (),
    retrain: bool = False,
) -> Workload:
    """Plans the training of these cases.

    Arguments:
        local: records whose runs are not trained again.
        committed: other records, used only to predict costs.
        retrain: train every run, including those with a local record.
    """
    # Local records come first: costs on this machine predict best.
    cost_of = estimator([*local, *committed])
    costs = {run: cost_of(run) for run in dict.fromkeys(r for runs in cases.values() for r in runs)}
    recorded = set() if retrain else {record.run for record in local}
    pending = [run for run in costs if run not in recorded]
    return Workload(cases, costs, sorted(pending, key=lambda run: costs[run].seconds))


def wall_seconds(costs: Sequence[Cost], jobs: int) -> float:
    """Seconds for all runs, started in this order, `jobs` at a time."""
    ends = [WORKER_START_SECONDS] * max(1, min(jobs, len(costs)))
    for cost in costs:
        next_free = ends.index(min(ends))
        ends[next_free] += cost.seconds
    return max(ends)


def jobs_that_fit(costs: Sequence[Cost], jobs: int, memory: float) -> int:
    """The largest number of jobs, from 1 to `jobs`, whose runs fit into `memory` bytes."""
    jobs = max(1, min(jobs, len(costs)))
    while jobs > 1 and memory_together(costs, jobs) > memory:
        jobs -= 1
    return jobs


def memory_together(costs: Sequence[Cost], jobs: int) -> float:
    """Bytes for the `jobs` largest runs and the process that starts them."""
    largest = sorted((c.memory for c in costs), reverse=True)[:jobs]
    return PARENT_MEMORY + sum(largest) + WORKER_MEMORY * len(largest)
