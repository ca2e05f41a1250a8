"""Trains each reference run in small, with each fault of a kind planted: what differs from without?

    python tests/mutations_tried.py KIND

prints JSON: {fault: {run: "same", "changed" or what was raised}}, and under "again" whether the
first run came out the same once more after others. A process a fault, forked from one without
threads.
"""

from __future__ import annotations

import hashlib
import json
import os
import sys
from dataclasses import replace
from importlib import import_module
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

TRAIN, TEST, STEPS = 331, 300, 12  # ten batches and a partial one an epoch


def small() -> Dataset:
    digits = embedded_digits()
    return replace(
        digits,
        train_images=digits.train_images[:TRAIN],
        train_labels=digits.train_labels[:TRAIN],
        test_images=digits.test_images[:TEST],
        test_labels=digits.test_labels[:TEST],
    )


def runs() -> dict[str, RunConfig]:
    """The reference runs with few steps, small batches and dimensions, and a seed that is not 0."""
    found = {}
    for name, run in suite.runs("mnist-5k").items():
        steps = replace(run.protocol, steps=STEPS, batch=32, score_first=STEPS)
        found[name] = replace(run, protocol=steps, seed=3, dim=run.dim and 60)
    return found


def outcome(run: RunConfig) -> Any:
    """The result of a training, with labels and logits of its tests; or what it raised."""
    tested = hashlib.sha256()

    def hear(module: Any, _: Any, logits: Any) -> None:
        if not torch.is_grad_enabled():
            tested.update(logits.contiguous().numpy().tobytes())

    hook = register_module_forward_hook(hear)
    try:
        dataset = load_dataset(run.dataset, None)
        tested.update(dataset.test_labels.numpy().tobytes())
        return [train(run, dataset).result, tested.hexdigest()]
    except Exception as failure:
        return f"{type(failure).__name__}: {failure}"
    finally:
        hook.remove()


def compared(fault: Mutation, before: dict[str, Any]) -> dict[str, str]:
    """Plants a fault and trains all runs, the first once more at the end."""
    fault.plant()
    after = {name: outcome(run) for name, run in runs().items()}
    said = {
        name: found if isinstance(found, str) else ("same" if found == before[name] else "changed")
        for name, found in after.items()
    }
    first = fault.runs[0]
    again = outcome(runs()[first]) == after[first]
    return {**said, "again": "same" if again else "changed"}


def forked(fault: Mutation, before: dict[str, Any]) -> dict[str, str]:
    """`compared` in a child, whose patches end with it."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        with os.fdopen(writing, "w") as pipe:
            json.dump(compared(fault, before), pipe)
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as pipe:
        text = pipe.read()
    os.waitpid(child, 0)
    return json.loads(text) if text else dict.fromkeys(before, "its process ended")


def main(kind: str) -> None:
    dataset = small()
    loading.load = lambda name, root=None: dataset
    before = {name: outcome(run) for name, run in runs().items()}
    load_dataset.cache_clear()
    module = import_module(f"subspace_bench.regression.validation.mutations.{kind}").__name__
    chosen = {name: f for name, f in MUTATIONS.items() if f.plant.__module__ == module}
    print(json.dumps({name: forked(f, before) for name, f in chosen.items()}))


if __name__ == "__main__":
    main(sys.argv[1])
