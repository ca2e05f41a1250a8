"""The post's four "MNIST lite" nets: small models, trained in full space.

Source: the post's second table and `mnist-zoo.ipynb` of its code (greydanus/subspace-nn @9e4eb5f).
"""

from __future__ import annotations

from torch import nn

from subspace_bench.models.layers import ConvPoolRelu, sequential


def mlp(hidden: int) -> nn.Module:
    """784 → hidden → 10 with a relu between and no dropout: 795·hidden + 10 parameters.

    Input (N, 1, 28, 28), output logits (N, 10).
    """
    return sequential(
        flatten=nn.Flatten(),
        fc1=nn.Linear(784, hidden),
        relu=nn.ReLU(),
        fc2=nn.Linear(hidden, 10),
    )


def cnn(maps1: int, maps2: int, hidden: int) -> nn.Module:
    """784 → (maps1, 4×4) → (maps2, 4×4) → hidden → 10.

    conv 4×4 → maxpool 2 → relu; conv 4×4 → Dropout2d(0.5) → maxpool 2 → relu; hidden units, relu,
    dropout 0.5; 10 classes. Input (N, 1, 28, 28), output logits (N, 10).
    """
    return sequential(
        conv1=ConvPoolRelu(1, maps1, 4),
        conv2=ConvPoolRelu(maps1, maps2, 4, dropout2d=0.5),
        flatten=nn.Flatten(),
        fc1=nn.Linear(maps2 * 4 * 4, hidden),
        relu=nn.ReLU(),
        dropout=nn.Dropout(0.5),
        fc2=nn.Linear(hidden, 10),
    )
