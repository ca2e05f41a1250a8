"""The two nets that the post trains in subspaces: a conv net of 21,840 parameters and a fully
connected one of 199,210 (Sam Greydanus, "Training Networks in Random Subspaces", 2017).

θ is the parameters flattened in the order of `module.parameters()`. The post's order differs: dense
weights are (in, out) there, and the fully connected net's order is W1, W2, W3, b1, b2, b3. This
does not change the distribution of results. Permuting θ permutes the rows of A = [θ_init | N(0, 1)]
with it, and the Gaussian rows are exchangeable, so (net, P) has the same joint distribution. (QR
fixes P up to the signs of its columns, which Adam and ω_init follow.)
"""

from __future__ import annotations

from torch import nn

from subspace_bench.models.layers import ConvPoolRelu, sequential


def conv(dropout: float = 0.5) -> nn.Module:
    """784 → (10, 5×5) → (20, 5×5) → 50 → 10: the PyTorch tutorial's net (tutorial 2).

    conv 5×5 → maxpool 2 → relu; conv 5×5 → Dropout2d(0.5) → maxpool 2 → relu; 320 → 50, relu,
    dropout 0.5; 50 → 10. 260 + 5,020 + 16,050 + 510 = 21,840 parameters.
    Input (N, 1, 28, 28), output logits (N, 10).
    """
    return sequential(
        conv1=ConvPoolRelu(1, 10, 5),
        conv2=ConvPoolRelu(10, 20, 5, dropout2d=dropout),
        flatten=nn.Flatten(),
        fc1=nn.Linear(20 * 4 * 4, 50),
        relu=nn.ReLU(),
        dropout=nn.Dropout(dropout),
        fc2=nn.Linear(50, 10),
    )


def fc() -> nn.Module:
    """784 → 200 → 200 → 10 with relu between and no dropout: 199,210 parameters.

    Input (N, 1, 28, 28), output logits (N, 10).
    """
    return sequential(
        flatten=nn.Flatten(),
        fc1=nn.Linear(784, 200),
        relu1=nn.ReLU(),
        fc2=nn.Linear(200, 200),
        relu2=nn.ReLU(),
        fc3=nn.Linear(200, 10),
    )
