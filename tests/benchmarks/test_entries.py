"""The entries of the leaderboard: they train within their numbers."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from benchmarks.leaderboard_entries import load_all
from entries.oriented import deskew, oriented
from entries.packed import Sparse, pack, unpack
from entries.training import BATCH, affine, shift
from subspace_bench.datasets.dataset import Dataset
from subspace_bench.datasets.loading import load as load_dataset

ENTRIES = {entry.name: entry for entry in load_all([])}


@pytest.fixture(scope="module")
def digits() -> Dataset:
    dataset = load_dataset("mnist-5k")
    return replace(
        dataset,
        train_images=dataset.train_images[: 3 * BATCH],
        train_labels=dataset.train_labels[: 3 * BATCH],
        test_images=dataset.test_images[:200], test_labels=dataset.test_labels[:200],
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("name", ENTRIES)
def test_an_entry_trains_within_its_numbers(
    name: str, digits: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    entry = ENTRIES[name]
    monkeypatch.setattr(entry.code, "EPOCHS", 2)
    dim = entry.dims[-1]
    score = entry.score(dim, 0, digits)
    assert 0.65 * dim < score.numbers <= dim
    assert score.stored_bytes == 4 * score.numbers
    assert score.accuracy == entry.score(dim, 0, digits).accuracy


def test_packed_numbers_keep_index_and_value() -> None:
    values = torch.randn(2**16)
    index = torch.tensor([0, 1, 2**15 - 1, 2**15, 2**16 - 1])
    packed = pack(values, index)
    assert (packed.dtype, packed.shape) == (torch.int32, (5,))
    found = unpack(packed, 2**16)
    assert found.nonzero()[:, 0].tolist() == index.tolist()
    torch.testing.assert_close(found[index], values[index], rtol=1e-3, atol=0)


def test_a_pruned_net_has_d_weights() -> None:
    torch.manual_seed(0)
    net = Sparse(nn.Sequential(nn.Flatten(), nn.Linear(784, 10)), 50)
    net.fit(torch.rand(2 * BATCH, 1, 28, 28), torch.arange(2 * BATCH) % 10, 0, epochs=4, peak=0.01)
    weights = torch.cat([p.flatten() for p in net.merge().parameters()])
    assert 0 < int((weights != 0).sum()) <= 50


def test_a_student_gets_the_gradient_of_the_divergence_from_its_teacher() -> None:
    torch.manual_seed(0)
    code = ENTRIES["joined-taught"].code
    teacher, student, x = nn.Linear(4, 10), code.Taught(nn.Linear(4, 10), 50), torch.randn(6, 4)
    student.teacher, student.is_training = teacher.forward, True
    F.cross_entropy(student(x), torch.zeros(6).long()).backward()
    found = student.net.weight.grad.clone()
    student.zero_grad()
    logs = [F.log_softmax(net(x) / code.TEMPERATURE, 1) for net in (student.net, teacher)]
    loss = F.kl_div(*logs, reduction="batchmean", log_target=True) * code.TEMPERATURE**2
    loss.backward()
    torch.testing.assert_close(found, student.net.weight.grad)
    assert "teacher" not in "".join(student.state_dict())


def test_deskewing_centres_and_removes_the_slant(digits: Dataset) -> None:
    images = digits.train_images[:100, None].float() / 255
    reach = torch.arange(28.0) - 13.5

    def moments(x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        mass = x.sum((1, 2, 3))
        centre = torch.einsum("ncij,j->n", x, reach) / mass
        slant = torch.einsum("ncij,i,j->n", x, reach, reach) / mass
        return centre.abs(), slant.abs()

    before, after = moments(images), moments(deskew(images))
    assert all(float(a.mean()) < 0.3 * float(b.mean()) for a, b in zip(after, before, strict=True))


def test_oriented_gradients_tell_directions_apart() -> None:
    stripes = torch.zeros(2, 1, 28, 28)
    stripes[0, :, ::4] = 1
    stripes[1, :, :, ::4] = 1
    found = oriented(stripes, cell=8, stride=4)
    assert found.shape == (2, 8, 6, 6)
    strongest = found[:, :4].mean((2, 3)).argmax(1)
    assert strongest.tolist() == [2, 0]  # edges whose gradient points down, and to the right


def test_augmented_images_keep_most_of_their_ink(digits: Dataset) -> None:
    images = digits.train_images[:64, None].float() / 255
    for augment in (shift, affine):
        moved = augment(images, torch.Generator().manual_seed(0))
        assert moved.shape == images.shape
        assert not torch.equal(moved, images)
        assert float(moved.mean() / images.mean()) == pytest.approx(1, abs=0.1)
        again = augment(images, torch.Generator().manual_seed(0))
        assert torch.equal(moved, again)
