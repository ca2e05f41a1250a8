"""How many numbers does a regression on scikit-learn's diabetes data need?

subspace-bench dimension examples/dimension_regression.py
"""

import torch
from sklearn.datasets import load_diabetes
from torch import nn

higher_is_better = False  # the score is a loss
x, y = (torch.tensor(a, dtype=torch.float32) for a in load_diabetes(return_X_y=True))
x, y = x / x.std(0), ((y - y.mean()) / y.std())[:, None]


def build(seed):
    return nn.Sequential(nn.Linear(10, 64), nn.Tanh(), nn.Linear(64, 1))


def train(net, seed):
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(seed))
    fit, test = order[:300], order[300:]
    optimizer = torch.optim.Adam(net.parameters(), lr=0.02)
    for _ in range(100):
        optimizer.zero_grad()
        nn.functional.mse_loss(net(x[fit]), y[fit]).backward()
        optimizer.step()
    return nn.functional.mse_loss(net(x[test]), y[test]).item()
