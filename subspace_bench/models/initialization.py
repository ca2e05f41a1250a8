"""Initial parameters θ_init from a scheme such as "he" or "normal:0.005".

All numbers come from the given NumPy generator in the order of the parameters, so θ_init is a
function of (model, scheme, seed) and equal on every device.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn

SCHEMES = (
    "default",
    "he",
    "he-normal",
    "glorot",
    "xavier",
    "zeros",
    "normal:σ",
    "normal:σ1,σ2,…",
    "truncated:σ",
)

# (shape, fan_in, fan_out) → values of a tensor; for a bias, the fans of its layer.
_Draw = Callable[[tuple[int, ...], int, int], np.ndarray]


def fans(weight: torch.Tensor) -> tuple[int, int]:
    """(fan_in, fan_out) of a dense (out, in) or convolution (out, in, k, k) weight.

    Both include the receptive field: fan_in = in·k·k, fan_out = out·k·k.

    Raises:
        ValueError: for a tensor with fewer than two dimensions.
    """
    if weight.ndim < 2:
        raise ValueError(f"a weight of shape {tuple(weight.shape)} has no fan-in")
    field = math.prod(weight.shape[2:])
    return weight.shape[1] * field, weight.shape[0] * field


def fan_in(module: nn.Module) -> torch.Tensor:
    """For each element of θ, the fan-in of its parameter: (D,) float32; see `fan_ins`."""
    by_parameter = fan_ins(module)
    return torch.cat(
        [torch.full((p.numel(),), float(by_parameter[p])) for p in module.parameters()]
    )


def fan_ins(module: nn.Module) -> dict[nn.Parameter, int]:
    """How many inputs one output of each parameter sums, for any module.

    - A weight (out, in, k, …): in·k·…, all dimensions but the first.
    - The weight (in, out/groups, k, …) of a transposed convolution: in/groups·k·….
    - An embedding: 1, because each output reads one row.
    - A bias, or any parameter with fewer than two dimensions: that of the last weight before it in
      the same layer. In a layer without weights, as in norms: its number of elements.

    A parameter that layers share has the fan-in of the first.
    """
    found: dict[nn.Parameter, int] = {}
    for part in module.modules():
        previous = None
        for p in part._parameters.values():
            if p is None:
                continue
            if p.ndim >= 2:
                previous = _weight_fan_in(part, p)
            found.setdefault(p, max(1, p.numel()) if previous is None else previous)
    return found


def _weight_fan_in(layer: nn.Module, weight: torch.Tensor) -> int:
    if isinstance(layer, (nn.Embedding, nn.EmbeddingBag)):
        return 1
    if isinstance(layer, nn.modules.conv._ConvTransposeNd):
        return weight.shape[0] // layer.groups * math.prod(weight.shape[2:])
    return max(1, math.prod(weight.shape[1:]))


def initialise(module: nn.Module, scheme: str, rng: np.random.Generator) -> None:
    """Fills all parameters of `module` in place, rounded to float32.

    Arguments:
        module: dense and convolution layers only; a parameter that layers share is filled once.
        scheme: one of

            - "default": PyTorch's: U(±1/√fan_in), weights and biases, unchanged since before 0.2;
            - "he": U(±√(6/fan_in)), biases 0 (He et al. 2015, uniform);
            - "he-normal": N(0, 2/fan_in), not truncated, biases 0;
            - "glorot": U(±√(6/(fan_in + fan_out))), biases 0 (Keras, Lasagne);
            - "xavier": U(±√(3/fan_in)), biases 0 (Caffe's filler of that name);
            - "zeros": weights and biases 0;
            - "normal:0.005": every weight N(0, 0.005²), biases 0;
            - "normal:0.001,0.001,0.01": one σ per weight tensor in order, biases 0;
            - "truncated:0.1": N(0, 0.1²) redrawn beyond 2σ, as TensorFlow's
              `truncated_normal`; biases 0.1, as in its tutorial.
        rng: the only source of randomness; layers draw in order, weight before bias.

    Raises:
        ValueError: for an unknown scheme, a wrong number of σ, or parameters without a fan-in.
    """
    layers = _layers(module)
    weight_draws, bias_draw = _parse(scheme, len(layers), rng)
    with torch.no_grad():
        for (weight, biases), draw in zip(layers, weight_draws, strict=True):
            fan_in, fan_out = fans(weight)
            _fill(weight, draw(tuple(weight.shape), fan_in, fan_out))
            for bias in biases:
                _fill(bias, bias_draw(tuple(bias.shape), fan_in, fan_out))


def _layers(module: nn.Module) -> list[tuple[nn.Parameter, list[nn.Parameter]]]:
    """(weight, its biases) of every layer in order; layers with the same weight are one."""
    layers: dict[nn.Parameter, list[nn.Parameter]] = {}
    for name, part in module.named_modules():
        parameters = list(part.parameters(recurse=False))
        weights = [p for p in parameters if p.ndim >= 2]
        if parameters and len(weights) != 1:
            raise ValueError(
                "only layers with one weight tensor and its bias can be initialised; "
                f"{name or type(part).__name__} has parameters of shapes "
                f"{[tuple(p.shape) for p in parameters]}"
            )
        for weight in weights:
            biases = layers.setdefault(weight, [])
            biases += [p for p in parameters if p.ndim < 2 and not any(p is b for b in biases)]
    return list(layers.items())


def _parse(scheme: str, count: int, rng: np.random.Generator) -> tuple[list[_Draw], _Draw]:
    """(one draw per weight tensor, the draw for biases)."""

    def uniform(bound: Callable[[int, int], float]) -> _Draw:
        def draw(shape: tuple[int, ...], fan_in: int, fan_out: int) -> np.ndarray:
            half_width = bound(fan_in, fan_out)
            return rng.uniform(-half_width, half_width, shape)

        return draw

    def normal(sigma: float) -> _Draw:
        return lambda shape, fan_in, fan_out: rng.normal(0.0, sigma, shape)

    def truncated(sigma: float) -> _Draw:
        return lambda shape, fan_in, fan_out: sigma * _truncated(rng, shape)

    def constant(value: float) -> _Draw:
        return lambda shape, fan_in, fan_out: np.full(shape, value)

    zero = constant(0.0)
    default = uniform(lambda fan_in, fan_out: 1 / math.sqrt(fan_in))
    plain: dict[str, tuple[_Draw, _Draw]] = {
        "default": (default, default),
        "he": (uniform(lambda fan_in, fan_out: math.sqrt(6 / fan_in)), zero),
        "he-normal": (
            lambda shape, fan_in, fan_out: rng.normal(0.0, math.sqrt(2 / fan_in), shape),
            zero,
        ),
        "glorot": (uniform(lambda fan_in, fan_out: math.sqrt(6 / (fan_in + fan_out))), zero),
        "xavier": (uniform(lambda fan_in, fan_out: math.sqrt(3 / fan_in)), zero),
        "zeros": (zero, zero),
    }
    if scheme in plain:
        weight_draw, bias_draw = plain[scheme]
        return [weight_draw] * count, bias_draw

    kind = scheme.partition(":")[0]
    if kind == "normal":
        per_weight = sigmas(scheme)
        if len(per_weight) == 1:
            per_weight *= count
        if len(per_weight) != count:
            raise ValueError(
                f"initialisation {scheme!r} has {len(per_weight)} σ, the model {count} weights"
            )
        return [normal(sigma) for sigma in per_weight], zero
    if kind == "truncated" and len(sigmas(scheme)) == 1:
        return [truncated(*sigmas(scheme))] * count, constant(0.1)
    raise ValueError(f"unknown initialisation {scheme!r}; known: {', '.join(SCHEMES)}")


def sigmas(scheme: str) -> list[float]:
    """The standard deviations in a scheme such as "normal:0.001,0.01".

    Raises:
        ValueError: if they are not finite numbers of 0 or more.
    """
    try:
        numbers = [float(text) for text in scheme.partition(":")[2].split(",")]
    except ValueError:
        numbers = []
    if not numbers or not all(math.isfinite(sigma) and sigma >= 0 for sigma in numbers):
        raise ValueError(
            f"initialisation {scheme!r} needs non-negative numbers after the colon, "
            "as in 'normal:0.005'"
        )
    return numbers


def _truncated(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Standard normal numbers, redrawn until they lie within ±2."""
    values = rng.standard_normal(math.prod(shape))
    outside = np.flatnonzero(np.abs(values) > 2)
    while outside.size:
        values[outside] = rng.standard_normal(outside.size)
        outside = outside[np.abs(values[outside]) > 2]
    return values.reshape(shape)


def _fill(parameter: nn.Parameter, values: np.ndarray) -> None:
    parameter.copy_(torch.from_numpy(values.astype(np.float32)))
