"""Many cart-pole policies at once, each in a random subspace of its own: DQN, evolution strategies.

Policies of 562 parameters are too small to fill a processor one by one. Here a batch of them takes
each step together. They share no weight, no gradient and no replay; only the random numbers of
exploration and of starting positions come from one generator, so a batch repeats as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from torch import Tensor

from subspace_bench.projectors import make

LAYERS = ((4, 20), (20, 20), (20, 2))  # relu between; Li et al. 2018's smallest net
NATIVE = sum(fan_in * fan_out + fan_out for fan_in, fan_out in LAYERS)  # D = 562
PROJECTOR = "gaussian-unit"  # dense, columns of norm 1, as theirs
LONGEST = 200  # steps of an episode, and the largest reward: CartPole-v0
SOLVED, LAST = 195.0, 100  # mean reward over so many episodes


@dataclass(frozen=True)
class Result:
    """How one policy ended.

    Attributes:
        score: the best mean reward over LAST fresh episodes, without exploration.
        episodes: until it was solved first, None if it never was.
    """

    score: float
    episodes: int | None


class Looks:
    """The results of policies that play LAST fresh episodes now and then during training."""

    def __init__(self, policies: int) -> None:
        self.best = np.zeros(policies)
        self.solved = np.zeros(policies, dtype=int)

    def add(self, played: Tensor, episodes: np.ndarray) -> None:
        """Rewards (policies, LAST), and the episodes that each policy has trained on so far."""
        means = played.mean(1).numpy()
        self.best = np.maximum(self.best, means)
        first = (means >= SOLVED) & (self.solved == 0)
        self.solved[first] = episodes[first]

    def results(self) -> list[Result]:
        return [
            Result(float(best), int(solved) or None)
            for best, solved in zip(self.best, self.solved, strict=True)
        ]


class Policies:
    """θ₀ and P of a batch of policies.

    Arguments:
        dims: d of each; None for all: θ = θ₀ + ω, without subspaces.
        seeds: of each policy's θ₀ and P.
    """

    def __init__(self, dims: Sequence[int] | None, seeds: Sequence[int]) -> None:
        self.origins = torch.stack([initial(seed) for seed in seeds])  # (policies, D)
        self.bases: Tensor | None = None  # (policies, largest d, D): rows beyond d are 0
        self.width, self.dims = NATIVE, torch.full((len(seeds), 1), float(NATIVE))
        if dims is not None:
            self.width, self.dims = max(dims), torch.tensor(dims)[:, None].float()
            self.bases = torch.zeros(len(seeds), self.width, NATIVE)
            for basis, dim, seed in zip(self.bases, dims, seeds, strict=True):
                basis[:dim] = make(PROJECTOR, NATIVE, dim, seed)(torch.eye(dim))

    def __len__(self) -> int:
        return len(self.origins)

    def thetas(self, omegas: Tensor) -> Tensor:
        """(policies, n, width) → (policies, n, D)."""
        moves = omegas if self.bases is None else omegas @ self.bases
        return self.origins[:, None] + moves


def initial(seed: int) -> Tensor:
    """θ₀: weights from N(0, 2/fan_in), biases 0."""
    generator = torch.Generator().manual_seed(seed)
    parts = []
    for fan_in, fan_out in LAYERS:
        weights = torch.randn(fan_in * fan_out, generator=generator) * math.sqrt(2 / fan_in)
        parts += [weights, torch.zeros(fan_out)]
    return torch.cat(parts)


def values(thetas: Tensor, positions: Tensor) -> Tensor:
    """The nets' outputs: (policies, D), (policies, n, 4) → (policies, n, 2)."""
    layer, start = positions, 0
    for number, (fan_in, fan_out) in enumerate(LAYERS):
        weights = thetas[:, start : start + fan_in * fan_out].view(-1, fan_in, fan_out)
        start += fan_in * fan_out
        bias = thetas[:, start : start + fan_out]
        start += fan_out
        layer = torch.baddbmm(bias[:, None], layer.relu() if number else layer, weights)
    return layer


def rewards(thetas: Tensor, episodes: int, seed: int) -> Tensor:
    """Plays episodes with each policy: (policies, D) → rewards (policies, episodes)."""
    count = len(thetas)
    environment = CartPoleVectorEnv(count * episodes, max_episode_steps=LONGEST)
    seen, _ = environment.reset(seed=seed)
    total, alive = np.zeros(count * episodes), np.ones(count * episodes, dtype=bool)
    for _ in range(LONGEST):
        answers = values(thetas, torch.from_numpy(seen).view(count, episodes, 4))
        seen, reward, terminated, truncated, _ = environment.step(
            answers.argmax(2).flatten().numpy()
        )
        total += reward * alive
        alive &= ~(terminated | truncated)
        if not alive.any():
            break
    return torch.from_numpy(total).float().view(count, episodes)


@torch.no_grad()
def evolve(
    policies: Policies, sigma: float, rate: float, generations: int, pairs: int, seed: int
) -> list[Result]:
    """Evolution strategies: antithetic noise, centred ranks, Adam (Salimans et al. 2017).

    Arguments:
        sigma: length in θ of the noise.
        rate: length in θ of a step of Adam, about.
        generations: after each fifth, the policy plays LAST fresh episodes.
        pairs: noise vectors a generation; each is tried with both signs for an episode.
        seed: of noise and starting positions.
    """
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(policies.width) < policies.dims
    scale = policies.dims.rsqrt()  # a vector of d numbers of this size has length 1
    omegas = (torch.zeros(len(policies), policies.width)).requires_grad_()
    optimizer = torch.optim.Adam([omegas], lr=rate)
    looks = Looks(len(policies))
    for generation in range(generations):
        noise = (
            torch.randn(len(policies), pairs, policies.width, generator=generator) * mask[:, None]
        )
        both = omegas[:, None] + sigma * torch.cat([noise, -noise], 1)
        thetas = policies.thetas(both * scale[:, None]).flatten(0, 1)
        gained = rewards(thetas, 1, seed=seed + generation).view(len(policies), 2 * pairs)
        ranks = gained.argsort(1).argsort(1) / (2 * pairs - 1) - 0.5
        weights = ranks[:, :pairs] - ranks[:, pairs:]
        omegas.grad = -(weights[:, None] @ noise)[:, 0] / pairs
        optimizer.step()
        if generation % 5 == 4:
            thetas = policies.thetas((omegas * scale)[:, None])[:, 0]
            played = np.full(len(policies), 2 * pairs * (generation + 1))
            looks.add(rewards(thetas, LAST, seed + generation), played)
    return looks.results()
