"""How many numbers does cart-pole need? Writes results/cart-pole.md, .csv.

    python -m benchmarks.cart_pole [--rebuild]

The post quotes Li et al. 2018: "solving the inverted pendulum problem is 100 times easier than
classifying digits from MNIST". Protocol, fixed before the runs in stage "final":

- CartPole-v0: at most 200 steps an episode, solved at a mean reward of 195 over 100 episodes. Net
  4-20-20-2 (D = 562), P dense with columns of norm 1, ω = 0 at first.
- DQN: 100 fresh episodes of the greedy policy after every 5,000 of DQN_STEPS steps. Discount, batch
  and target update are those of Li et al.'s code; replay and exploration ours (`cart_pole_dqn`).
  In a first final stage its last 100 training episodes counted, which 2 of 10 plain nets passed.
- Evolution strategies: 100 fresh episodes after every fifth of GENERATIONS generations.
- Stage "select": SELECT_SEEDS at SELECT_DIMS, and without a subspace, at each setting. The setting
  with the best mean score is used for all d in stage "final", which has SEEDS. Where the best was
  at the edge of its grid, the grid was moved and the final stage repeated.
- Of equal settings, the one with the fewest episodes until solved is used. This rule came after a
  first final stage of evolution strategies, which took the first of several equal settings.
- d_int: the d at which half, and 9 in 10, of the seeds solve it, on a monotone fit over log d.
"""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
import torch

from benchmarks import measurements
from benchmarks.cart_pole_dqn import learn
from benchmarks.cart_pole_page import NAME, page
from benchmarks.cart_pole_policies import NATIVE, Policies, Result, evolve
from subspace_bench.records import provenance
from subspace_bench.reporting.render import write_page

DIMS = (1, 2, 3, 4, 6, 8, 10, 15, 20, 25, 30, 40, 60)
SEEDS, SELECT_SEEDS = tuple(range(10)), tuple(range(1000, 1005))
DQN_STEPS, SELECT_DQN_STEPS = 200_000, 50_000
GENERATIONS, PAIRS = 200, 16


@dataclass(frozen=True)
class Batch:
    """Policies that are trained together: one setting, all its d and seeds.

    Attributes:
        method: "DQN" or "evolution strategies".
        model: "subspace" or "plain".
        stage: "select" or "final".
        sigma: the noise's length in θ; 0 with DQN.
        rate: of Adam. With evolution strategies, the length of a step in θ.
    """

    method: str
    model: str
    stage: str
    sigma: float
    rate: float

    def members(self) -> list[tuple[int, int]]:
        """d and seed of each policy."""
        seeds = SEEDS if self.stage == "final" else SELECT_SEEDS
        dims = DIMS if self.stage == "final" else SELECT_DIMS[self.method]
        return list(itertools.product([NATIVE] if self.model == "plain" else dims, seeds))

    def train(self) -> list[Result]:
        dims, seeds = zip(*self.members(), strict=True)
        policies = Policies(None if self.model == "plain" else dims, seeds)
        if self.method == DQN:
            steps = DQN_STEPS if self.stage == "final" else SELECT_DQN_STEPS
            return learn(policies, self.rate, steps, seed=seeds[0])
        return evolve(policies, self.sigma, self.rate, GENERATIONS, PAIRS, seed=seeds[0])


DQN, ES = "DQN", "evolution strategies"
SELECT_DIMS = {DQN: (25, 60), ES: (8, 30)}
SETTINGS = {  # (sigma, rate)
    (DQN, "subspace"): [(0.0, rate) for rate in (1e-3, 3e-3, 1e-2, 3e-2, 1e-1)],
    (DQN, "plain"): [(0.0, rate) for rate in (1e-4, 3e-4, 1e-3, 3e-3)],
    (ES, "subspace"): list(itertools.product((0.3, 1.0, 3.0), (0.3, 1.0, 3.0))),
    (ES, "plain"): list(itertools.product((0.03, 0.1, 0.3, 1.0), (0.03, 0.1, 0.3, 1.0))),
}


class Rows:
    """All policies trained so far, kept in the csv."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.facts = {
            **provenance.machine(),
            **{"native": NATIVE, "seeds": len(SEEDS), "select_seeds": len(SELECT_SEEDS)},
            **{"dqn_steps": DQN_STEPS, "generations": GENERATIONS, "pairs": PAIRS},
        }
        self.batches: dict[Batch, pd.DataFrame] = {}
        if (out / f"{NAME}.csv").is_file():
            numbers = measurements.load(NAME, out).numbers
            for _, rows in numbers.groupby(list(Batch.__dataclass_fields__), sort=False):
                self.batches[Batch(*rows.iloc[0][list(Batch.__dataclass_fields__)])] = rows

    def rows(self, batch: Batch) -> pd.DataFrame:
        """The results of a batch, trained if new; a final one replaces an earlier one."""
        if batch not in self.batches:
            if batch.stage == "final":
                same = batch.method, batch.model, batch.stage
                for known in list(self.batches):
                    if (known.method, known.model, known.stage) == same:
                        del self.batches[known]
            members = zip(batch.members(), batch.train(), strict=True)
            self.batches[batch] = pd.DataFrame(
                asdict(batch) | {"d": dim, "seed": seed} | asdict(result)
                for (dim, seed), result in members
            ).astype({"episodes": "Int64"})
            measurements.save(NAME, self.out, pd.concat(self.batches.values()), self.facts)
            mean = self.batches[batch].groupby("d")["score"].mean().round(1).to_dict()
            print(*asdict(batch).values(), mean, flush=True)
        return self.batches[batch]

    def select(self, method: str, model: str) -> tuple[float, float]:
        """The setting with the best mean score, then with the fewest episodes."""

        def merit(setting: tuple[float, float]) -> tuple[float, float]:
            rows = self.rows(Batch(method, model, "select", *setting))
            return rows["score"].mean(), -rows["episodes"].mean()

        return max(SETTINGS[method, model], key=merit)


def main() -> None:
    options = measurements.options(__doc__).parse_args()
    if not options.rebuild:
        torch.set_num_threads(1)
        rows = Rows(options.out)
        for method, model in ((ES, "subspace"), (ES, "plain"), (DQN, "subspace"), (DQN, "plain")):
            rows.rows(Batch(method, model, "final", *rows.select(method, model)))
    print(*write_page(page(measurements.load(NAME, options.out)), options.out), sep="\n")


if __name__ == "__main__":
    main()
