"""The training loop, compared with plain PyTorch and with itself."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from subspace_bench import models
from subspace_bench.common.errors import UserError
from subspace_bench.common.rng import generator, seed_torch
from subspace_bench.models.initialization import initialise
from subspace_bench.projectors import names
from subspace_bench.records.config import RunConfig, TrainingConfig
from subspace_bench.subspace import Subspace
from subspace_bench.training.loop import evaluate, make_batches, prepare, scored_images, train
from subspace_bench.training.optimizers import (
    FusedSubspaceAdam,
    SubspaceOptimizer,
    make_optimizer,
    schedule,
    subspace_of,
)

SHORT = TrainingConfig(steps=12, batch=64, lr=3e-3, betas=(0.9, 0.99), score_every=5)
DIRECT = RunConfig("conv", "default", SHORT, dataset="mnist-5k")
POST = replace(DIRECT, init="normal:0.005", dim=40, projector="orthonormal", origin="zero")
LI = replace(DIRECT, init="he", dim=40, projector="gaussian", origin="init")


@pytest.mark.parametrize("run", [DIRECT, POST, LI], ids=["direct", "post", "li"])
def test_the_same_run_gives_the_same_bits_whatever_ran_before(run, digits) -> None:
    first = train(run, digits)
    torch.rand(3)
    train(replace(run, seed=5), digits)
    assert train(run, digits).result == first.result


def test_matches_a_plain_pytorch_loop(digits) -> None:
    """`Subspace`, autograd through P and torch's Adam reach the same ω and accuracy."""
    record = train(LI, digits)
    module = models.build("conv")
    initialise(module, "he", generator(0, "init"))
    net = Subspace(module, 40, "gaussian", seed=0, scaling="none")
    optimizer = torch.optim.Adam([net.omega], 3e-3, betas=(0.9, 0.99))
    batches = make_batches(LI, digits)
    for i in range(12):
        x, y = batches(i)
        seed_torch(0, "dropout", i)
        loss = F.cross_entropy(net.train()(x), y)
        if i in (0, 5, 10):
            assert record.result["curve"][i // 5][2] == pytest.approx(loss.item(), rel=1e-4)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    accuracy = evaluate(net.merge(), digits.test_images, digits.test_labels, "unit")
    assert record.result["accuracy_end"] == pytest.approx(accuracy, abs=0.3)


def test_both_origins_start_at_theta_init() -> None:
    for run in (POST, LI):
        net = prepare(run)
        projector, origin, omega = subspace_of(run, net)
        torch.testing.assert_close(origin + projector(omega), net.theta, rtol=1e-4, atol=1e-7)
    assert not origin.equal(torch.zeros_like(origin))


def test_theta_stays_in_the_subspace(digits) -> None:
    net = prepare(POST)
    optimizer = make_optimizer(POST, net)
    projector, origin, _ = subspace_of(POST, prepare(POST))
    batches = make_batches(POST, digits)
    for i in range(3):
        x, y = batches(i)
        F.cross_entropy(net.module(x), y).backward()
        optimizer.step()
    torch.testing.assert_close(net.theta, origin + projector(optimizer.trained))


def test_streams_are_separate(digits) -> None:
    """Another projector leaves initialisation and batches alone: the first loss is the same."""
    first = train(replace(LI, dim=40), digits).result["curve"][0][2]
    assert train(replace(LI, dim=41, projector="orthonormal"), digits).result["curve"][0][
        2
    ] == pytest.approx(first, rel=1e-5)
    assert train(replace(LI, seed=1), digits).result["curve"][0][2] != pytest.approx(first)


def test_scores_come_where_the_post_takes_them_and_at_the_end(digits) -> None:
    result = train(DIRECT, digits).result
    assert [row[0] for row in result["curve"]] == [1, 6, 11, 12]
    assert result["accuracy"] == result["curve"][2][1]
    assert result["accuracy_end"] == result["curve"][3][1]
    assert result["native_dimension"] == result["free_parameters"] == 21_840
    post = TrainingConfig(steps=23_438, batch=256, lr=3e-3)
    assert post.last_score == 23_401


def test_a_prefix_is_the_shorter_run(digits) -> None:
    long = train(POST, digits).result["curve"]
    assert train(POST.with_steps(6), digits).result["curve"] == long[:2]


def test_divergence_is_recorded_not_raised(digits) -> None:
    wild = replace(DIRECT, protocol=replace(SHORT, optimizer="sgd", lr=1e6))
    result = train(wild, digits).result
    assert result["diverged"] <= 12
    assert result["accuracy"] is None


def test_it_learns(digits) -> None:
    run = DIRECT.with_steps(150)
    assert train(run, digits).result["accuracy_end"] > 75


def test_sgd_with_double_bias_rate_matches_torch(digits) -> None:
    caffe = TrainingConfig(
        steps=4, batch=32, lr=0.01, optimizer="sgd", momentum=0.9, weight_decay=5e-4,
        bias_lr=2.0, schedule="inv", gamma=1e-4, power=0.75,
    )  # fmt: skip
    run = RunConfig("tutorial-6", "xavier", caffe, dataset="mnist-5k")
    net, plain = prepare(run), prepare(run).module
    optimizer = make_optimizer(run, net)
    weights = [p for p in plain.parameters() if p.ndim > 1]
    biases = [p for p in plain.parameters() if p.ndim == 1]
    sgd = torch.optim.SGD(
        [{"params": weights}, {"params": biases}], 0.01, momentum=0.9, weight_decay=5e-4
    )
    batches = make_batches(run, digits)
    for i in range(4):
        x, y = batches(i)
        net.gradient.zero_()
        F.cross_entropy(net.module(x), y).backward()
        optimizer.step()
        rate = 0.01 * (1 + 1e-4 * i) ** -0.75
        assert schedule(caffe, i) * 0.01 == pytest.approx(rate)
        sgd.param_groups[0]["lr"], sgd.param_groups[1]["lr"] = rate, 2 * rate
        sgd.zero_grad()
        F.cross_entropy(plain(x), y).backward()
        sgd.step()
    expected = torch.cat([p.detach().reshape(-1) for p in plain.parameters()])
    torch.testing.assert_close(net.theta, expected, rtol=1e-4, atol=1e-6)


def test_one_cycle_rises_for_a_quarter_and_ends_near_zero() -> None:
    protocol = TrainingConfig(steps=400, batch=64, lr=0.2, schedule="one-cycle")
    factors = [schedule(protocol, t) for t in range(400)]
    assert factors == [*sorted(factors[:100]), *sorted(factors[100:], reverse=True)]
    assert 0.99 < max(factors) <= 1
    assert 0 < factors[0] < 0.01
    assert 0 < factors[-1] < 1e-4


@pytest.mark.parametrize("projector", ["gaussian", "orthonormal"])
def test_rows_scaled_by_fan_in_are_the_same_in_one_pass_and_in_two(projector, digits) -> None:
    run = replace(LI, model="conv-plain", projector=projector, scaling="fan-in")
    one = train(run, digits)
    net = prepare(run)
    two = make_optimizer(replace(run, dtype="float64"), prepare(replace(run, dtype="float64")))
    assert isinstance(two, SubspaceOptimizer)
    assert isinstance(make_optimizer(run, net), FusedSubspaceAdam)
    double = train(replace(run, dtype="float64"), digits)
    for (_, _, loss), (_, _, other) in zip(
        one.result["curve"], double.result["curve"], strict=True
    ):
        assert loss == pytest.approx(other, rel=1e-3)
    rows = two.rows
    assert rows is not None
    expected = (21_840 / 40 / 25) ** 0.5  # √(D/d) / √fan-in of the first convolution
    torch.testing.assert_close(rows[0].item(), expected, rtol=1e-6, atol=0)


def test_held_out_images_are_scored_and_never_trained_on(digits) -> None:
    protocol = replace(SHORT, train="first-50000", score_on="held-out")
    run = replace(DIRECT, protocol=protocol)
    images, labels = scored_images(run, digits)
    batches = make_batches(run, digits)
    assert len(images) == len(labels)
    assert len(images) + len(batches.labels) == len(digits.train_labels)
    assert torch.equal(images, digits.train_images[len(batches.labels) :])
    assert train(run, digits).result["accuracy_end"] is not None
    with pytest.raises(UserError, match="held-out"):
        replace(protocol, train="all")


def test_scaling_is_for_subspaces_through_theta_init_alone() -> None:
    with pytest.raises(UserError, match="fan-in"):
        replace(DIRECT, scaling="fan-in")
    with pytest.raises(UserError, match="unknown scaling"):
        replace(LI, scaling="fan-out")


@pytest.mark.parametrize("name", names())
def test_every_projector_trains_the_conv_net(name, digits) -> None:
    run = replace(LI, model="conv-plain", projector=name, scaling="fan-in", dim=300)
    steps = replace(SHORT, steps=40, lr=0.3, score_first=1, score_every=39, scale="standard")
    first, last = (row[2] for row in train(replace(run, protocol=steps), digits).result["curve"])
    assert last < first - 0.15  # the loss falls, which it does only if the two maps belong together
