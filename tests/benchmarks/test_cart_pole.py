"""The cart-pole script: batches of policies equal single ones, learn, and give the right d."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from torch import nn

from subspace_bench.projectors import make

gymnasium = pytest.importorskip("gymnasium")

from benchmarks import cart_pole, cart_pole_dqn, cart_pole_policies, measurements  # noqa: E402
from benchmarks.cart_pole_page import cross, page  # noqa: E402
from benchmarks.cart_pole_policies import (  # noqa: E402
    LAYERS,
    NATIVE,
    Policies,
    initial,
    rewards,
    values,
)


def plain_net(theta: torch.Tensor) -> nn.Module:
    layers, start = [], 0
    for fan_in, fan_out in LAYERS:
        linear = nn.Linear(fan_in, fan_out)
        size = fan_in * fan_out
        linear.weight.data = theta[start : start + size].view(fan_in, fan_out).T
        linear.bias.data = theta[start + size : start + size + fan_out]
        start += size + fan_out
        layers += [linear, nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def test_a_batch_of_policies_equals_single_nets_in_subspaces() -> None:
    dims, seeds = [2, 5], [7, 8]
    policies = Policies(dims, seeds)
    omegas = torch.randn(2, 1, policies.width)
    positions = torch.randn(2, 3, 4)
    found = values(policies.thetas(omegas)[:, 0], positions)
    for number, (dim, seed) in enumerate(zip(dims, seeds, strict=True)):
        projector = make("gaussian-unit", NATIVE, dim, seed)
        theta = initial(seed) + projector(omegas[number, 0, :dim])
        torch.testing.assert_close(found[number], plain_net(theta)(positions[number]))


def test_rewards_are_those_of_single_environments() -> None:
    thetas = torch.stack([initial(seed) for seed in (0, 1)])
    gained = rewards(thetas, 3, seed=4)
    starts = cart_pole_policies.CartPoleVectorEnv(6).reset(seed=4)[0]
    single = gymnasium.make("CartPole-v1").unwrapped
    for number, start in enumerate(starts):
        single.reset()
        single.state = start.astype(float)
        net, seen, total, ended = plain_net(thetas[number // 3]), start, 0, False
        while not ended and total < 200:
            action = int(net(torch.from_numpy(np.float32(seen))).argmax())
            seen, _, ended, _, _ = single.step(action)
            total += 1
        assert gained.flatten()[number] == total


def test_replay_skips_the_steps_in_which_an_episode_restarts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    kept = []

    class Replay(cart_pole_dqn.Replay):
        def add(self, before, action, after, fell, valid) -> None:  # type: ignore[no-untyped-def]
            super().add(before, action, after, fell, valid)
            kept.append((valid.numpy().copy(), before.numpy(), after.numpy()))

    monkeypatch.setattr(cart_pole_dqn, "Replay", Replay)
    cart_pole_dqn.learn(Policies([2, 2], [0, 1]), 0.01, 120, seed=0)
    jumps = [np.abs(after - before).max(1) > 0.9 for _, before, after in kept]
    assert any((~valid).any() for valid, _, _ in kept)
    assert not any((jump & valid).any() for jump, (valid, _, _) in zip(jumps, kept, strict=True))


def test_dqn_updates_only_the_d_numbers_of_each_policy(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    policies = Policies([1, 4], [0, 1])
    thetas = policies.thetas
    monkeypatch.setattr(policies, "thetas", lambda omegas: seen.append(omegas) or thetas(omegas))
    cart_pole_dqn.learn(policies, 0.01, cart_pole_dqn.FIRST + 5, seed=0)
    omegas = seen[-1].detach()[:, 0]
    assert (omegas != 0).tolist() == [[True, False, False, False], [True] * 4]


@pytest.mark.slow
def test_evolution_strategies_solve_it_in_few_dimensions() -> None:
    results = cart_pole_policies.evolve(Policies([15, 1], [1000, 1001]), 3.0, 1.0, 40, 16, 5)
    assert results[0].score >= 195
    assert results[0].episodes is not None
    assert results[1].score < 195
    assert results[1].episodes is None


def test_the_crossing_lies_where_the_monotone_fit_reaches_the_share() -> None:
    solved = pd.DataFrame({1: [0] * 10, 4: [0] * 5 + [1] * 5, 16: [1] * 10})
    assert cross(solved, 0.5).dim == pytest.approx(4)
    assert cross(solved, 0.75).dim == pytest.approx(8)  # half-way in log d
    assert 0.5 not in cross(solved, 0.9).interval
    never = cross(pd.DataFrame({1: [0, 0, 0], 2: [0, 0, 1]}), 0.9)
    assert never.dim is None
    assert never.interval.high == float("inf")


def test_a_second_call_trains_nothing_and_the_page_comes_from_the_csv(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = []

    def train(batch: cart_pole.Batch) -> list[cart_pole_policies.Result]:
        trained.append(batch)
        return [
            cart_pole_policies.Result(150.0 + batch.rate, 300 if dim * batch.rate > 10 else None)
            for dim, _ in batch.members()
        ]

    monkeypatch.setattr(cart_pole.Batch, "train", train)
    monkeypatch.setattr("sys.argv", ["cart_pole", "--out", str(tmp_path)])
    cart_pole.main()
    settings = sum(map(len, cart_pole.SETTINGS.values()))
    assert len(trained) == settings + len(cart_pole.SETTINGS)
    finals = {(b.method, b.model): b.rate for b in trained if b.stage == "final"}
    assert finals["DQN", "plain"] == 3e-3  # the highest mean score
    made = page(measurements.load("cart-pole", tmp_path))
    lines = made.tables["solved"]
    assert list(lines.loc[lines["d"] == "4", "solved"]) == ["0 of 10", "10 of 10"]
    before = (tmp_path / "cart-pole.csv").read_bytes()
    trained.clear()
    cart_pole.main()
    assert trained == []
    assert (tmp_path / "cart-pole.csv").read_bytes() == before
