"""Sampling: the post's independent batches, the tutorials' epochs, and pixel scales."""

import numpy as np
import pytest
import torch

from subspace_bench.common.errors import UserError
from subspace_bench.datasets.batches import Batches, scale_pixels, training_slice
from subspace_bench.datasets.dataset import Dataset

N = 1200


def dataset() -> Dataset:
    images = torch.arange(N, dtype=torch.int64).remainder(256).to(torch.uint8)
    images = images.view(N, 1, 1).expand(N, 28, 28).contiguous()
    labels = torch.arange(N)
    return Dataset("fake", images, labels, images[:10], labels[:10], digest="", source="")


def batches(batch: int = 256, **options: str) -> Batches:
    return Batches(dataset(), batch, **options)


def test_independent_batches_are_distinct_images_drawn_anew() -> None:
    draw = batches()
    first, second = draw.indices(0), draw.indices(1)
    assert len(set(first)) == 256
    assert 20 < len(set(first) & set(second)) < 90  # 256²/1200 = 55 expected
    np.testing.assert_array_equal(first, batches().indices(0))
    counts = np.bincount(np.concatenate([draw.indices(i) for i in range(400)]), minlength=N)
    expected, sd = 400 * 256 / N, np.sqrt(400 * 256 / N * (1 - 256 / N))
    assert abs((counts - expected) / sd).max() < 5


def test_images_and_labels_belong_together() -> None:
    x, y = batches(scale="unit")(7)
    assert x.shape == (256, 1, 28, 28)
    torch.testing.assert_close(x[:, 0, 0, 0] * 255, (y % 256).float())


def test_epochs_deal_a_permutation_out() -> None:
    draw = batches(sampling="epochs")
    assert draw.per_epoch == 5
    epoch = np.concatenate([draw.indices(i) for i in range(5)])
    assert sorted(epoch) == list(range(N))
    assert len(draw.indices(4)) == N - 4 * 256
    again = np.concatenate([draw.indices(i) for i in range(5, 10)])
    assert sorted(again) == list(range(N))
    assert not np.array_equal(epoch, again)


def test_partial_batches_can_be_dropped() -> None:
    draw = batches(sampling="epochs-drop")
    assert draw.per_epoch == 4
    assert len(draw.indices(3)) == 256
    assert len(np.unique(np.concatenate([draw.indices(i) for i in range(4)]))) == 1024


def test_held_out_images_are_never_trained_on() -> None:
    assert training_slice("after-5000", 60_000) == slice(5_000, 60_000)
    assert training_slice("first-50000", 60_000) == slice(0, 50_000)
    draw = batches(train="after-5000")
    assert min(draw(i)[1].min().item() for i in range(20)) >= 100


def test_scales() -> None:
    x = torch.tensor([[[0, 255]]], dtype=torch.uint8)
    assert scale_pixels(x, "unit", torch.float32).flatten().tolist() == [0, 1]
    assert scale_pixels(x, "256", torch.float32).flatten().tolist() == [0, 255 / 256]
    standard = scale_pixels(x, "standard", torch.float64).flatten().tolist()
    assert standard == pytest.approx([-0.1307 / 0.3081, (1 - 0.1307) / 0.3081])


def test_a_batch_larger_than_the_data_is_refused() -> None:
    with pytest.raises(UserError, match="exceeds the 1200 training images"):
        batches(batch=1201)
