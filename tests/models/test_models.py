"""The nets: counts, shapes, dropout masks, and initialisation from a stream."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

from subspace_bench import models
from subspace_bench.common.errors import UserError
from subspace_bench.experiments import published
from subspace_bench.models import initialization, tutorials
from subspace_bench.models.initialization import initialise
from subspace_bench.models.layers import ConvPoolRelu
from subspace_bench.training import presets


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


def images(count: int = 3) -> torch.Tensor:
    return torch.from_numpy(rng(1).random((count, 1, 28, 28), np.float32))


@pytest.mark.parametrize("name", models.MODELS)
def test_shapes_and_gradients(name: str) -> None:
    """In float64, but for the post's net: no fused kernel has to be compiled for each model."""
    dtype = torch.float32 if name == "conv" else torch.float64
    net = models.build(name).to(dtype)
    logits = net(images().to(dtype))
    assert logits.shape == (3, 10)
    assert logits.dtype == dtype
    logits.sum().backward()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.parametrize("name", models.HYPOTHESES)
def test_hypotheses_are_nets(name: str) -> None:
    assert models.HYPOTHESES[name]()(images()).shape == (3, 10)


def test_layers_have_the_sizes_counted_by_hand() -> None:
    """The hand counts of the public code, layer by layer, are those of the built nets."""
    post = published.load("post")
    rows = [*post["tutorials"]["rows"], post["tutorials"]["extra"], *post["mnist-lite"]["rows"]]
    expected = {row["model"]: row["layers"] for row in rows} | post["ultra-small"]["layers"]
    expected["conv-plain"] = expected["conv"]
    assert set(expected) == set(models.MODELS)
    for name, layers in expected.items():
        net = models.build(name)
        own = [sum(p.numel() for p in m.parameters(recurse=False)) for m in net.modules()]
        assert [count for count in own if count] == layers


def test_unknown_model_lists_the_known_ones() -> None:
    with pytest.raises(UserError) as raised:
        models.build("cnov")
    assert all(name in str(raised.value) for name in models.MODELS)
    assert "\n" not in str(raised.value)


def test_tied_weights_count_once() -> None:
    net = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4))
    net[1].weight = net[0].weight
    assert models.parameter_count(net) == 16 + 4 + 4
    initialise(net, "he", rng())
    assert net[0].weight is net[1].weight


def plain_twin(layer: ConvPoolRelu) -> nn.Sequential:
    """The same layer from torch's own modules, sharing the parameters."""
    cout, cin, kernel, _ = layer.weight.shape
    conv = nn.Conv2d(cin, cout, kernel, padding=layer.padding)
    conv.weight, conv.bias = layer.weight, layer.bias
    end = nn.ReLU() if layer.relu else nn.Identity()
    return nn.Sequential(conv, nn.Dropout2d(layer.dropout2d), nn.MaxPool2d(2), end)


@pytest.mark.parametrize("relu", [True, False])
@pytest.mark.parametrize("padding", [0, 2])
@pytest.mark.parametrize("dropout", [0.0, 0.3, 0.5, 1.0])
def test_layer_equals_torchs_own_modules(relu: bool, padding: int, dropout: float) -> None:
    """Values, gradients, and the random numbers left behind, in training and in evaluation."""
    torch.manual_seed(0)
    layer = ConvPoolRelu(3, 10, 5, dropout, relu, padding)
    twin = plain_twin(layer)
    x = torch.randn(6, 3, 12, 12)
    for training in (True, False):
        outcomes = []
        for module in (layer.train(training), twin.train(training)):
            module.zero_grad()
            torch.manual_seed(7)
            inputs = x.clone().requires_grad_()
            y = module(inputs)
            after = torch.rand(4)
            y.square().sum().backward()
            outcomes.append((y.detach(), inputs.grad, layer.weight.grad, layer.bias.grad, after))
            outcomes[-1] = tuple(t.clone() for t in outcomes[-1] if t is not None)
        for ours, theirs in zip(*outcomes, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
        assert torch.equal(outcomes[0][-1], outcomes[1][-1])


def test_dropout_must_be_a_probability() -> None:
    with pytest.raises(ValueError, match="probability"):
        ConvPoolRelu(1, 2, 5, dropout2d=1.5)


def test_fans_count_the_receptive_field() -> None:
    assert initialization.fans(torch.empty(50, 320)) == (320, 50)
    assert initialization.fans(torch.empty(20, 10, 5, 5)) == (250, 500)
    with pytest.raises(ValueError, match="no fan-in"):
        initialization.fans(torch.empty(5))


class Wide(nn.Module):
    """A convolution and a dense layer with enough numbers for their moments to be seen."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(40, 60, 5)  # fans 1,000 and 1,500
        self.fc = nn.Linear(500, 200)


@pytest.mark.parametrize(
    ("scheme", "bound"),
    [
        ("default", lambda fan_in, fan_out: fan_in**-0.5),
        ("he", lambda fan_in, fan_out: (6 / fan_in) ** 0.5),
        ("glorot", lambda fan_in, fan_out: (6 / (fan_in + fan_out)) ** 0.5),
        ("xavier", lambda fan_in, fan_out: (3 / fan_in) ** 0.5),
    ],
)
def test_uniform_schemes(scheme: str, bound) -> None:
    net = Wide()
    initialise(net, scheme, rng())
    for weight, fans in ((net.conv.weight, (1_000, 1_500)), (net.fc.weight, (500, 200))):
        half_width = bound(*fans)
        assert weight.abs().max().item() == pytest.approx(half_width, rel=1e-3)
        assert weight.std().item() == pytest.approx(half_width / math.sqrt(3), rel=0.02)
        assert abs(weight.mean().item()) < 0.01 * half_width
    if scheme == "default":
        assert 0 < net.conv.bias.abs().max().item() <= 1_000**-0.5
        assert 0 < net.fc.bias.abs().max().item() <= 500**-0.5
    else:
        assert not net.conv.bias.any()
        assert not net.fc.bias.any()


@pytest.mark.parametrize(
    ("scheme", "sigmas"),
    [
        ("he-normal", (math.sqrt(2 / 1_000), math.sqrt(2 / 500))),
        ("normal:0.005", (0.005, 0.005)),
        ("normal:0.001,0.01", (0.001, 0.01)),
    ],
)
def test_normal_schemes(scheme: str, sigmas: tuple[float, float]) -> None:
    net = Wide()
    initialise(net, scheme, rng())
    for weight, sigma in zip((net.conv.weight, net.fc.weight), sigmas, strict=True):
        assert weight.std().item() == pytest.approx(sigma, rel=0.02)
        assert weight.abs().max().item() > 3.5 * sigma
    assert not net.conv.bias.any()


def test_truncated_scheme_is_tensorflows() -> None:
    net = Wide()
    initialise(net, "truncated:0.1", rng())
    assert net.fc.weight.abs().max().item() <= 0.2
    assert net.fc.weight.std().item() == pytest.approx(0.1 * 0.8796, rel=0.02)
    assert (net.fc.bias == 0.1).all()


def test_zeros() -> None:
    net = Wide()
    initialise(net, "zeros", rng())
    assert not any(p.any() for p in net.parameters())


def test_initialise_draws_from_its_generator_alone() -> None:
    first, second, other = (models.build("conv") for _ in range(3))
    before = torch.get_rng_state()
    initialise(first, "default", rng())
    initialise(second, "default", rng())
    initialise(other, "default", rng(1))
    assert torch.equal(before, torch.get_rng_state())
    for p, q, r in zip(first.parameters(), second.parameters(), other.parameters(), strict=True):
        assert torch.equal(p, q)
        assert not torch.equal(p, r)


def test_initialise_rounds_to_float32_whatever_the_module_holds() -> None:
    single, double = models.build("mlp-16"), models.build("mlp-16").double()
    initialise(single, "he", rng())
    initialise(double, "he", rng())
    for p, q in zip(single.parameters(), double.parameters(), strict=True):
        assert torch.equal(p.double(), q)


@pytest.mark.parametrize("name", sorted({"post", "mnist-lite", *tutorials.TUTORIALS}))
def test_the_protocols_schemes_fit_their_models(name: str) -> None:
    scheme = presets.protocols()[name]["init"]
    pairs = {"post": scheme, "mnist-lite": {"mlp-16": scheme, "cnn-3369": scheme}}
    for model, init in pairs.get(name, {name: scheme}).items():
        initialise(models.build(model), init, rng())


@pytest.mark.parametrize(
    "scheme",
    [
        "hee", "zeros:1", "normal", "normal:x", "normal:-1", "normal:nan", "normal:0.1,0.1,0.1",
        "truncated:0.1,0.2",
    ],
)  # fmt: skip
def test_wrong_schemes_are_refused_by_name(scheme: str) -> None:
    with pytest.raises(ValueError, match=scheme):
        initialise(Wide(), scheme, rng())


def test_a_layer_without_fan_in_is_refused_by_name() -> None:
    net = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    with pytest.raises(ValueError, match="1 has parameters of shapes"):
        initialise(net, "he", rng())


@pytest.mark.parametrize(
    ("layer", "expected"),
    [
        (nn.Linear(6, 4), [6, 6]),
        (nn.Conv2d(6, 4, 3, groups=2), [27, 27]),
        (nn.ConvTranspose2d(6, 4, 3, groups=2), [27, 27]),
        (nn.Bilinear(2, 3, 4), [6, 6]),
        (nn.Embedding(9, 4), [1]),
        (nn.LayerNorm(5), [5, 5]),
        (nn.BatchNorm1d(5), [5, 5]),
        (nn.PReLU(), [1]),
        (nn.LSTM(3, 4), [3, 4, 4, 4]),  # its biases follow weight_hh
        (nn.MultiheadAttention(4, 2), [4, 4, 4, 4]),
        (nn.Sequential(nn.Linear(6, 4, bias=False), nn.LayerNorm(4)), [6, 4, 4]),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, nn.Module) else "",
)
def test_fan_in_is_the_number_of_inputs_that_an_output_sums(layer, expected) -> None:
    found = models.fan_ins(layer)
    assert [found[p] for p in layer.parameters()] == expected


def test_an_output_has_unit_variance_for_weights_of_variance_one_over_fan_in() -> None:
    torch.manual_seed(0)
    for layer, x in [
        (nn.Linear(300, 50), torch.randn(400, 300)),
        (nn.Conv2d(40, 50, 3, groups=2), torch.randn(40, 40, 8, 8)),
        (nn.ConvTranspose2d(40, 50, 3, groups=2), torch.randn(40, 40, 8, 8)),
        (nn.Embedding(300, 50), torch.arange(300)),
    ]:
        with torch.no_grad():
            for p in layer.parameters():
                p.normal_() if p.ndim > 1 else p.zero_()
            layer.weight.mul_(models.fan_ins(layer)[layer.weight] ** -0.5)
            y = layer(x)
        inner = y[..., 2:-2, 2:-2] if y.ndim == 4 else y  # away from the border
        assert inner.var().item() == pytest.approx(1, abs=0.1)


def test_fan_in_is_that_of_each_parameters_layer() -> None:
    rows = models.fan_in(models.build("conv-plain"))
    sizes = {25: 260, 250: 5_020, 320: 16_050, 50: 510}
    assert {int(v): int((rows == v).sum()) for v in rows.unique()} == sizes
    assert rows[0] == rows[259] == 25  # weights, then biases, layer by layer
    assert rows[-1] == 50
