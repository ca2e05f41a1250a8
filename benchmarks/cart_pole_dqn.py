"""Deep Q-learning of a batch of cart-pole policies (Mnih et al. 2015; Li et al. 2018)."""

from __future__ import annotations

import numpy as np
import torch
from gymnasium.envs.classic_control.cartpole import CartPoleVectorEnv
from torch import Tensor
from torch.nn.functional import smooth_l1_loss

from benchmarks.cart_pole_policies import LAST, LONGEST, Looks, Policies, Result, rewards, values

DISCOUNT, SOFT, BATCH = 0.95, 0.01, 32  # theirs
MEMORY, FIRST = 10_000, 500  # transitions kept; before the first update. From here on ours.
RANDOM, RANDOM_STEPS = 0.01, 5_000  # share of random actions at last, and when it gets there
EVERY = 5_000  # steps between two looks at a policy


class Replay:
    """The last MEMORY transitions of each policy: state, action, next state, whether it fell."""

    def __init__(self, policies: int) -> None:
        self.size = torch.zeros(policies, dtype=torch.long)
        self.states = torch.zeros(2, policies, MEMORY, 4)
        self.actions = torch.zeros(policies, MEMORY, dtype=torch.long)
        self.fell = torch.zeros(policies, MEMORY)
        self.rows = torch.arange(policies)

    def add(
        self, before: Tensor, action: Tensor, after: Tensor, fell: Tensor, valid: Tensor
    ) -> None:
        """One transition of each policy; where not `valid`, the next one takes its place."""
        at = self.rows, self.size % MEMORY
        self.states[0][at], self.states[1][at] = before, after
        self.actions[at], self.fell[at] = action, fell
        self.size += valid

    def draw(self, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """A batch of each policy."""
        share = torch.rand(len(self.rows), BATCH, generator=generator)
        number = (share * self.size.clamp(max=MEMORY)[:, None]).long()
        at = self.rows[:, None], number
        return self.states[0][at], self.actions[at], self.states[1][at], self.fell[at]


def learn(policies: Policies, rate: float, steps: int, seed: int) -> list[Result]:
    """Trains all policies for so many steps of the environment, with an update at each.

    Arguments:
        rate: of Adam, on ω.
        steps: after each EVERY, the greedy policy plays LAST fresh episodes.
        seed: of starting positions, random actions and batches of the replay.
    """
    count, generator = len(policies), torch.Generator().manual_seed(seed)
    environment = CartPoleVectorEnv(count, max_episode_steps=LONGEST)
    omegas = torch.zeros(count, 1, policies.width, requires_grad=True)
    optimizer = torch.optim.Adam([omegas], lr=rate)
    targets = policies.thetas(omegas.detach())[:, 0].clone()
    replay, looks, episodes = Replay(count), Looks(count), np.zeros(count, dtype=int)
    before = torch.from_numpy(environment.reset(seed=seed)[0])
    fresh = np.zeros(count, dtype=bool)  # the environment resets instead of stepping
    for step in range(steps):
        thetas = policies.thetas(omegas)[:, 0]
        with torch.no_grad():
            targets.lerp_(thetas, SOFT)
            share = max(RANDOM, 1 - step / RANDOM_STEPS)
            action = values(thetas, before[:, None])[:, 0].argmax(1)
            draws = torch.rand(2, count, generator=generator)
            action = torch.where(draws[0] < share, (draws[1] < 0.5).long(), action)
        seen, _, terminated, truncated, _ = environment.step(action.numpy())
        after = torch.from_numpy(seen)
        fell = torch.from_numpy(terminated).float()
        replay.add(before, action, after, fell, torch.from_numpy(~fresh))
        fresh = terminated | truncated
        episodes += fresh
        before = after
        if step >= FIRST:
            states, actions, nexts, ends = replay.draw(generator)
            with torch.no_grad():
                aim = 1 + DISCOUNT * (1 - ends) * values(targets, nexts).amax(2)
            found = values(thetas, states).gather(2, actions[..., None])[..., 0]
            optimizer.zero_grad()
            (count * smooth_l1_loss(found, aim)).backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        if step % EVERY == EVERY - 1:
            with torch.no_grad():
                thetas = policies.thetas(omegas)[:, 0]
            looks.add(rewards(thetas, LAST, seed + step), episodes)
    return looks.results()
