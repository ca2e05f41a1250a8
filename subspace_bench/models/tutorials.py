"""The nets of the post's first table: nine tutorials and 4b, with the layers of their public code.

Four of the post's nine parameter counts differ from the code's. For these, `HYPOTHESES` has the net
that the post *may* have counted: each gives the post's number exactly, but none is confirmed.
Input (N, 1, 28, 28), output logits (N, 10); softmax and loss are left out. Sources:
`experiments/published/post.toml`.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import nn

from subspace_bench.models import post
from subspace_bench.models.layers import ConvPoolRelu, sequential

TUTORIALS: dict[str, Callable[[], nn.Module]] = {
    # TensorFlow for beginners: 784 → 10, softmax regression. 7,850 parameters.
    "tutorial-1": lambda: sequential(flatten=nn.Flatten(), fc=nn.Linear(784, 10)),
    # PyTorch: the net that the post trains in subspaces. 21,840 parameters.
    "tutorial-2": post.conv,
    # Elite Data Science: two 3×3 convolutions, *one* pool after both. 600,810 parameters.
    "tutorial-3": lambda: sequential(
        conv1=nn.Conv2d(1, 32, 3),
        relu1=nn.ReLU(),
        conv2=ConvPoolRelu(32, 32, 3),
        dropout1=nn.Dropout(0.25),
        flatten=nn.Flatten(),
        fc1=nn.Linear(32 * 12 * 12, 128),
        relu2=nn.ReLU(),
        dropout2=nn.Dropout(0.5),
        fc2=nn.Linear(128, 10),
    ),
    # Machine Learning Mastery's simple CNN: one 5×5 convolution. 592,074 parameters.
    "tutorial-4": lambda: sequential(
        conv1=ConvPoolRelu(1, 32, 5),
        dropout=nn.Dropout(0.2),
        flatten=nn.Flatten(),
        fc1=nn.Linear(32 * 12 * 12, 128),
        relu=nn.ReLU(),
        fc2=nn.Linear(128, 10),
    ),
    # Machine Learning Mastery's larger CNN, which the post leaves out. 59,933 parameters.
    # Larger in layers, smaller in parameters: pooling twice leaves 375 features.
    "tutorial-4b": lambda: sequential(
        conv1=ConvPoolRelu(1, 30, 5),
        conv2=ConvPoolRelu(30, 15, 3),
        dropout=nn.Dropout(0.2),
        flatten=nn.Flatten(),
        fc1=nn.Linear(15 * 5 * 5, 128),
        relu1=nn.ReLU(),
        fc2=nn.Linear(128, 50),
        relu2=nn.ReLU(),
        fc3=nn.Linear(50, 10),
    ),
    # Lasagne's CNN: dropout in front of each dense layer. 160,362 parameters.
    "tutorial-5": lambda: sequential(
        conv1=ConvPoolRelu(1, 32, 5),
        conv2=ConvPoolRelu(32, 32, 5),
        flatten=nn.Flatten(),
        dropout1=nn.Dropout(0.5),
        fc1=nn.Linear(32 * 4 * 4, 256),
        relu=nn.ReLU(),
        dropout2=nn.Dropout(0.5),
        fc2=nn.Linear(256, 10),
    ),
    # Caffe's LeNet: no relu after the convolutions, no dropout. 431,080 parameters.
    "tutorial-6": lambda: sequential(
        conv1=ConvPoolRelu(1, 20, 5, relu=False),
        conv2=ConvPoolRelu(20, 50, 5, relu=False),
        flatten=nn.Flatten(),
        fc1=nn.Linear(50 * 4 * 4, 500),
        relu=nn.ReLU(),
        fc2=nn.Linear(500, 10),
    ),
    # Machine Learning Mastery's fully connected net: 784 → 784 → 10. 623,290 parameters.
    "tutorial-7": lambda: sequential(
        flatten=nn.Flatten(),
        fc1=nn.Linear(784, 784),
        relu=nn.ReLU(),
        fc2=nn.Linear(784, 10),
    ),
    # Lasagne's fully connected net: 784 → 800 → 800 → 10. 1,276,810 parameters.
    "tutorial-8": lambda: sequential(
        flatten=nn.Flatten(),
        dropout0=nn.Dropout(0.2),
        fc1=nn.Linear(784, 800),
        relu1=nn.ReLU(),
        dropout1=nn.Dropout(0.5),
        fc2=nn.Linear(800, 800),
        relu2=nn.ReLU(),
        dropout2=nn.Dropout(0.5),
        fc3=nn.Linear(800, 10),
    ),
    # TensorFlow for professionals: SAME 5×5 convolutions. 3,274,634 parameters.
    "tutorial-9": lambda: sequential(
        conv1=ConvPoolRelu(1, 32, 5, padding=2),
        conv2=ConvPoolRelu(32, 64, 5, padding=2),
        flatten=nn.Flatten(),
        fc1=nn.Linear(64 * 7 * 7, 1024),
        relu=nn.ReLU(),
        dropout=nn.Dropout(0.5),
        fc2=nn.Linear(1024, 10),
    ),
}

HYPOTHESES: dict[str, Callable[[], nn.Module]] = {
    # Row 3 with a pool after *each* convolution (800 features): 113,386, the post's count.
    "tutorial-3": lambda: sequential(
        conv1=ConvPoolRelu(1, 32, 3),
        conv2=ConvPoolRelu(32, 32, 3),
        flatten=nn.Flatten(),
        fc1=nn.Linear(32 * 5 * 5, 128),
        relu=nn.ReLU(),
        fc2=nn.Linear(128, 10),
    ),
    # Row 4 without the convolution's bias and pooled by 4 (1,152 features): 149,674.
    "tutorial-4": lambda: sequential(
        conv1=nn.Conv2d(1, 32, 5, bias=False),
        pool=nn.MaxPool2d(4),
        relu1=nn.ReLU(),
        flatten=nn.Flatten(),
        fc1=nn.Linear(32 * 6 * 6, 128),
        relu2=nn.ReLU(),
        fc2=nn.Linear(128, 10),
    ),
    # Row 6 without its second convolution, the first pooled by 4 (720 features): 366,030.
    "tutorial-6": lambda: sequential(
        conv1=nn.Conv2d(1, 20, 5),
        pool=nn.MaxPool2d(4),
        flatten=nn.Flatten(),
        fc1=nn.Linear(20 * 6 * 6, 500),
        relu=nn.ReLU(),
        fc2=nn.Linear(500, 10),
    ),
}


def hypothetical_count(name: str) -> int:
    """The parameter count that a hypothesis predicts for a tutorial that the post miscounted.

    This is the parameter count of the net in HYPOTHESES. The hypothesis for tutorial 9 (the ten
    biases of the last layer counted as one) is not a net: there, the real count minus nine.

    Raises:
        KeyError: for a tutorial that the post counted correctly.
    """
    if name == "tutorial-9":
        net = TUTORIALS[name]()
        biases = net.get_submodule("fc2").get_parameter("bias").numel()
        return sum(p.numel() for p in net.parameters()) - biases + 1
    return sum(p.numel() for p in HYPOTHESES[name]().parameters())
