"""Fine-tunes a small network in d = 13 … 10,000 numbers: Subspace beside four methods of PEFT.

The network learns digits, then the same digits on their side. Every method trains at most d
numbers, from the same weights, on the same batches, at the best of the same learning rates: the
one that is best on held-out images. Run it with `pip install peft` and
`python examples/fine_tune_in_d_numbers.py`; it takes some minutes, and needs no network.
"""

import peft
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from subspace_bench import Subspace
from subspace_bench.datasets.embedded import embedded_digits

RATES = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3)  # at the peak of a one-cycle schedule
SIZES = {"one": (784, 100), "two": (100, 100), "three": (100, 10)}  # layers: inputs, outputs
LAYERS = list(SIZES)
OUTPUTS = sum(n for _, n in SIZES.values())


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.three = (nn.Linear(*size) for size in SIZES.values())

    def forward(self, x: Tensor) -> Tensor:
        return self.three(self.two(self.one(x.flatten(1)).relu()).relu())


def lora(net: nn.Module, d: int) -> nn.Module | None:
    """The largest rank that fits; where none does, the last layer alone."""
    each = sum(map(sum, SIZES.values()))
    layers, per_rank = (LAYERS, each) if d >= each else (LAYERS[-1:], sum(SIZES["three"]))
    if d < per_rank:
        return None
    return peft.get_peft_model(net, peft.LoraConfig(r=d // per_rank, target_modules=layers))


def vera(net: nn.Module, d: int) -> nn.Module | None:
    """It trains r numbers and one for each output, in every layer."""
    rank = (d - OUTPUTS) // len(LAYERS)
    if rank < 1:
        return None
    return peft.get_peft_model(net, peft.VeraConfig(r=rank, target_modules=LAYERS))


def uni_lora(net: nn.Module, d: int) -> nn.Module:
    config = peft.UniLoraConfig(r=32, theta_d_length=d, target_modules=LAYERS)
    return peft.get_peft_model(net, config)


def tiny_lora(net: nn.Module, d: int) -> nn.Module:
    config = peft.TinyLoraConfig(r=32, u=d, weight_tying=1.0, target_modules=LAYERS)
    return peft.get_peft_model(net, config)


METHODS = {
    "Subspace": lambda net, d: Subspace(net, d),
    "LoRA": lora,
    "VeRA": vera,
    "Uni-LoRA": uni_lora,
    "TinyLoRA": tiny_lora,
}


def train(net: nn.Module, images: Tensor, labels: Tensor, rate: float, epochs: int) -> nn.Module:
    trained = [p for p in net.parameters() if p.requires_grad]
    steps = epochs * -(-len(labels) // 100)
    optimizer = torch.optim.Adam(trained, rate)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, rate, total_steps=steps + 1)
    order = torch.Generator().manual_seed(0)
    for _ in range(epochs):
        for batch in torch.randperm(len(labels), generator=order).split(100):
            optimizer.zero_grad()
            cross_entropy(net(images[batch]), labels[batch]).backward()
            optimizer.step()
            schedule.step()
    return net


@torch.no_grad()
def accuracy(net: nn.Module, images: Tensor, labels: Tensor) -> float:
    return 100 * float((net.eval()(images).argmax(1) == labels).double().mean())


def main(
    sizes: tuple[int, ...] = (13, 100, 1_000, 10_000),
    rates: tuple[float, ...] = RATES,
    epochs: int = 10,
) -> dict[tuple[str, int], tuple[int, float]]:
    """Prints a table; returns (numbers trained, test accuracy in %) by method and d."""
    digits = embedded_digits()
    upright = (digits.train_images.float() / 255 - 0.13) / 0.31
    fine, labels = upright.transpose(1, 2), digits.train_labels
    held_out = slice(0, len(labels) // 5), slice(len(labels) // 5, None)
    test = (digits.test_images.transpose(1, 2).float() / 255 - 0.13) / 0.31, digits.test_labels
    torch.manual_seed(0)
    weights = train(Net(), upright, labels, 0.003, epochs).state_dict()
    found = {}
    for d in sizes:
        for name, build in METHODS.items():
            best = 0, 0.0, 0.0  # numbers trained, accuracy on held-out images and on the test set
            for rate in rates:
                torch.manual_seed(1)
                base = Net()
                base.load_state_dict(weights)
                net = build(base, d)
                if net is None:
                    break
                trained = sum(p.numel() for p in net.parameters() if p.requires_grad)
                train(net, fine[held_out[1]], labels[held_out[1]], rate, epochs)
                chosen = accuracy(net, fine[held_out[0]], labels[held_out[0]])
                best = max(best, (trained, chosen, accuracy(net, *test)), key=lambda b: b[1])
            if best[0]:
                found[name, d] = best[0], best[2]
                print(f"d = {d:6,}  {name:9} trains {best[0]:6,} numbers: {best[2]:.1f}%")
    return found


if __name__ == "__main__":
    main()
