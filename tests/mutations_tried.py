"""Trains small versions of the reference runs with every mutation of a kind: what differs?

    python tests/mutations_tried.py KIND…

prints JSON: {mutation: {run: "same", "changed" or the error}}, and under "again" whether the first
run gives the same result after others. Each mutation has a process, forked from one without
threads.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import replace
from typing import Any

import torch
from torch.nn.modules.module import register_module_forward_hook

from subspace_bench.datasets import loading
from subspace_bench.datasets.dataset import Dataset
from subspace_bench.datasets.embedded import embedded_digits
from subspace_bench.records.config import RunConfig
from subspace_bench.regression import suite
from subspace_bench.regression.validation.mutations import MUTATIONS, Mutation
from subspace_bench.training.loop import train
from subspace_bench.training.runner import load_dataset

# Ten full batches and a partial one an epoch, so that the last step is in the second epoch; a tenth
# of the images still fills a batch.
TRAIN, BATCH, STEPS, TEST, DIM = 85, 8, 12, 80, 30


def small_dataset() -> Dataset:
    digits = embedded_digits()
    return replace(
        digits,
        train_images=digits.train_images[:TRAIN],
        train_labels=digits.train_labels[:TRAIN],
        test_images=digits.test_images[:TEST],
        test_labels=digits.test_labels[:TEST],
    )


def small_runs() -> dict[str, RunConfig]:
    """The reference runs with few steps, small batches and dimensions, and a seed that is not 0."""
    runs = {}
    for name, run in suite.runs("mnist-5k").items():
        protocol = replace(run.protocol, steps=STEPS, batch=BATCH, score_first=STEPS)
        runs[name] = replace(run, protocol=protocol, seed=3, dim=run.dim and DIM)
    return runs


def outcome(run: RunConfig) -> Any:
    """The result of a training with the labels and logits of its tests, or the error."""
    tested = hashlib.sha256()

    def add_logits(module: Any, _: Any, logits: Any) -> None:
        if not torch.is_grad_enabled():
            tested.update(logits.contiguous().numpy().tobytes())

    hook = register_module_forward_hook(add_logits)
    try:
        dataset = load_dataset(run.dataset, None)
        tested.update(dataset.test_labels.numpy().tobytes())
        return [train(run, dataset).result, tested.hexdigest()]
    except Exception as failure:
        return f"{type(failure).__name__}: {failure}"
    finally:
        hook.remove()


def compare(mutation: Mutation, before: dict[str, Any]) -> dict[str, str]:
    """Applies a mutation and trains all runs, the first that it affects once more at the end."""
    mutation.apply()
    after = {name: outcome(run) for name, run in small_runs().items()}
    differences = {
        name: result
        if isinstance(result, str)
        else ("same" if result == before[name] else "changed")
        for name, result in after.items()
    }
    first = mutation.runs[0]
    again = outcome(small_runs()[first]) == after[first]
    return {**differences, "again": "same" if again else "changed"}


def compare_in_fork(mutation: Mutation, before: dict[str, Any]) -> dict[str, str]:
    """`compare` in a child process, so that the mutation ends with it."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        with os.fdopen(writing, "w") as pipe:
            json.dump(compare(mutation, before), pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else dict.fromkeys(before, "its process died")


def main(kinds: list[str]) -> None:
    torch.set_num_threads(1)
    dataset = small_dataset()
    loading.load = lambda name, root=None: dataset
    before = {name: outcome(run) for name, run in small_runs().items()}
    load_dataset.cache_clear()
    chosen = {n: m for n, m in MUTATIONS.items() if m.apply.__module__.split(".")[-1] in kinds}
    print(json.dumps({name: compare_in_fork(m, before) for name, m in chosen.items()}))


if __name__ == "__main__":
    main(sys.argv[1:])
