"""An entry of the leaderboard: a folder `entries/NAME` with `entry.py` and `entry.toml`.

`entry.py` defines

    def build(dim, seed):                 # a module whose tensors follow from dim and seed alone
    def train(net, images, labels, seed): # trains it; sees training images only

Everything that training changes is counted: the numbers of each parameter or buffer that differs
from a fresh `build(dim, seed)`, and its bytes as stored. A number has at most 32 bits, so a float64
counts as two. Only these tensors are handed to another process, which builds the net anew and
scores it: what training keeps elsewhere in its own process is lost. Tricks with files are left to
reviewers.
The digest of an entry covers `entry.py` and the modules `entries/*.py` that it imports.
"""

from __future__ import annotations

import importlib.util
import math
import multiprocessing
import os
import sys
import time
import tomllib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Annotated, Any, NotRequired, TypedDict

import torch
from torch import Tensor, nn

from benchmarks.held_out import accuracy, trained_on
from subspace_bench import models
from subspace_bench.common.errors import UserError
from subspace_bench.common.files import digest
from subspace_bench.common.schema import Name, Range, require
from subspace_bench.common.source_digests import code_of, imports_of, module_digest
from subspace_bench.models.registry import build as build_model

if TYPE_CHECKING:
    from subspace_bench.datasets.dataset import Dataset

ENTRIES = Path(__file__).parents[1] / "entries"
POST, ANY = "post", "any"


class Header(TypedDict):
    """`entry.toml`.

    Attributes:
        title: of its rows.
        author: who made it.
        net: "post" for a subspace of the post's net of 21,840 parameters, else "any".
        dataset: "mnist" or "fashion-mnist".
        chosen: how its settings were chosen, in a few words.
        claimed: number of trained numbers → mean test accuracy in %. 0 claims nothing.
        code: name of the entry whose `entry.py` it takes; its own by default.
        seeds_tried: how many seeds were tried to find the best one; 1 if none was chosen. Which one
            it is counts: log₂ of it in bits.
    """

    title: str
    author: str
    net: str
    dataset: str
    chosen: str
    claimed: dict[str, Annotated[float, Range(0, 100)]]
    seeds_tried: Annotated[int, Range(1, 2**63)]
    code: NotRequired[Name]


@dataclass(frozen=True)
class Score:
    """One training of an entry.

    Attributes:
        numbers: numbers of 32 bits at most: those that training changed, and a chosen seed.
        stored_bytes: their bytes.
        accuracy: on the test images, in %.
        seconds: of training.
    """

    numbers: int
    stored_bytes: int
    accuracy: float
    seconds: float


@dataclass(frozen=True)
class Entry:
    """An entry, ready to be trained."""

    folder: Path
    header: Header
    code: ModuleType
    digest: str

    @property
    def name(self) -> str:
        return self.folder.name

    @property
    def dims(self) -> list[int]:
        return [int(dim) for dim in self.header["claimed"]]

    def score(self, dim: int, seed: int, dataset: Dataset, device: str = "cpu") -> Score:
        """Trains with one seed and scores what training changed, once, on the test images.

        Raises:
            UserError: if it counts more than `dim` numbers, or leaves the post's net.
        """
        images, labels = pixels(dataset.train_images).to(device), dataset.train_labels.to(device)
        net = self.code.build(dim, seed).to(device)
        start, variables = time.perf_counter(), dict(os.environ)
        self.code.train(net, images, labels, seed)
        seconds = time.perf_counter() - start
        os.environ.clear()  # the other process inherits them
        os.environ.update(variables)
        stored = changed(self.code.build(dim, seed), net.cpu())
        seed_bits = math.log2(self.header["seeds_tried"])
        numbers = sum(count(tensor) for tensor in stored.values()) + math.ceil(seed_bits / 32)
        if numbers > dim:
            raise UserError(f"{self.name} at {dim}: training changed {numbers} numbers")
        images, labels = dataset.test_images, dataset.test_labels
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as another:
            right = another.submit(
                stored_accuracy, self.folder, self.digest, dim, seed, stored, images, labels
            ).result()
        size = sum(tensor.nbytes for tensor in stored.values()) + math.ceil(seed_bits / 8)
        return Score(numbers, size, right, seconds)


def stored_accuracy(
    folder: Path,
    code: str,
    dim: int,
    seed: int,
    stored: dict[str, Tensor],
    images: Tensor,
    labels: Tensor,
) -> float:
    """Accuracy in % of an entry's net with the tensors that training changed.

    Arguments:
        code: digest of the entry that trained.
        images: uint8, (n, 28, 28).

    Raises:
        UserError: if the net is to be the post's and is not, or the entry has been edited.
    """
    torch.set_num_threads(1)
    entry = load(folder)
    if entry.digest != code:
        raise UserError(f"{folder} was edited while it trained: train it again")
    net = entry.code.build(dim, seed)
    net.load_state_dict({**net.state_dict(), **stored})
    if entry.header["net"] == POST:
        net = as_post_net(entry.name, net)
    return accuracy(net, (pixels(images), labels))


def load(folder: Path) -> Entry:
    """The entry of a folder.

    Raises:
        UserError: for a missing or wrong `entry.toml`, or an `entry.py` that cannot be imported.
    """
    header = folder / "entry.toml"
    try:
        content: Any = tomllib.loads(header.read_text(encoding="utf-8"))
        require(content, Header, header.name)
        if content["net"] not in (POST, ANY) or not all(map(str.isdecimal, content["claimed"])):
            raise ValueError(f'net is "{POST}" or "{ANY}", and claimed = {{ "100" = 95.0 }}')
        code = folder.parent / content.get("code", folder.name) / "entry.py"
        shared = [name for name in imports_of(code) if name.startswith(f"{ENTRIES.name}.")]
        source = [code_of(code), *(module_digest(name, (ENTRIES.name,)) for name in shared)]
        module = _import(f"entry_{folder.name}".replace("-", "_"), code)
    except (Exception, SystemExit) as failure:
        raise UserError(f"{folder}: {type(failure).__name__}: {failure}") from failure
    for function in ("build", "train"):
        if not callable(getattr(module, function, None)):
            raise UserError(f"{code} has no function {function!r}")
    settings: Any = {k: v for k, v in content.items() if k in ("net", "dataset")}
    return Entry(folder, content, module, digest([source, settings])[:12])


def load_all(names: list[str], folder: Path = ENTRIES) -> list[Entry]:
    """The entries with these names, or all of them."""
    known = sorted(path.parent.name for path in folder.glob("*/entry.toml"))
    for name in names:
        if name not in known:
            raise UserError(f"no entry {name!r}: choose of {', '.join(known)}")
    return [load(folder / name) for name in names or known]


def changed(fresh: nn.Module, trained: nn.Module) -> dict[str, Tensor]:
    """The tensors of a trained net's state that differ from a fresh one's."""
    old, new = fresh.state_dict(), trained.state_dict()
    if old.keys() != new.keys():
        raise UserError("build makes other tensors than the trained net has")
    # Clones: a view would be sent with all of the storage behind it.
    return {name: new[name].clone() for name in new if not torch.equal(old[name], new[name])}


def count(tensor: Tensor) -> int:
    """Its numbers: elements, or 32 bits each if that makes more."""
    return max(tensor.numel(), math.ceil(tensor.nbytes / 4))


def as_post_net(name: str, net: nn.Module) -> nn.Module:
    """The post's net with the tensors of `net.merge()`, or of `net` if it has no such method."""
    merge = getattr(net, "merge", None)
    plain = net if merge is None else merge()
    post = build_model("conv")
    try:
        post.load_state_dict(plain.state_dict())
    except RuntimeError as failure:
        raise UserError(
            f"{name}: its tensors are not those of the post's net of "
            f"{models.parameter_count(post):,} parameters"
        ) from failure
    return post


def held_out(dataset: Dataset) -> Dataset:
    """Training images alone: the held-out ones take the place of the test images."""
    kept = trained_on(dataset)
    images, labels = dataset.train_images, dataset.train_labels
    return replace(
        dataset,
        train_images=images[:kept], train_labels=labels[:kept],
        test_images=images[kept:], test_labels=labels[kept:],
    )  # fmt: skip


def pixels(images: Tensor) -> Tensor:
    """uint8 (n, 28, 28) → float32 (n, 1, 28, 28) in 0 … 1."""
    return images[:, None].float() / 255


def _import(name: str, path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module
