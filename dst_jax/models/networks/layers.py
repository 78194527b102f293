"""Layers with PyTorch's padding, names and initialisation."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float

from dst_jax.activations import DyReLU, Tap
from dst_jax.models.networks.derived_convolutions import convolution_of
from dst_jax.models.networks.patterned_layers import PatternedConv, PatternedDense

__all__ = [
    "Chain",
    "ChainStep",
    "Rectifier",
    "Stem",
    "biased_conv",
    "classifier",
    "conv",
    "default_kernel",
    "dense",
    "divisible",
    "flatten",
    "he_normal_fan_in",
    "he_normal_fan_out",
    "he_normal_of_channel",
    "relu",
    "repeated",
    "scaled",
    "tapped_relu",
    "torch_uniform",
]

Stem = Literal["imagenet", "cifar"]
Rectifier = Literal["relu", "dyrelu"]

ChainStep = Callable[..., Callable[[Array], Array]]
"""A function that takes `name` and returns a function of the map."""

# PyTorch's default for kernels, U(-1/sqrt(fan_in), 1/sqrt(fan_in)).
default_kernel = nn.initializers.variance_scaling(1 / 3, "fan_in", "uniform")
he_normal_fan_in = nn.initializers.variance_scaling(2.0, "fan_in", "normal")
he_normal_fan_out = nn.initializers.variance_scaling(2.0, "fan_out", "normal")


def torch_uniform(fan_in: int) -> nn.initializers.Initializer:
    """U(-1/sqrt(fan_in), 1/sqrt(fan_in)): PyTorch's default for kernels and biases.

    >>> weights = torch_uniform(16)(jax.random.key(0), (100,))
    >>> bool(jnp.abs(weights).max() <= 0.25)
    True
    """
    bound = fan_in**-0.5

    def init(key: jax.Array, shape: Sequence[int], dtype=jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


def he_normal_of_channel(
    key: jax.Array, shape: Sequence[int], dtype=jnp.float32
) -> jax.Array:
    """He's normal distribution with the fan-out of one channel: its taps.

    >>> he_normal_of_channel(jax.random.key(0), (3, 3, 1, 8)).shape
    (3, 3, 1, 8)
    """
    return jax.random.normal(key, shape, dtype) * (2 / (shape[0] * shape[1])) ** 0.5


def scaled(channels: int, width: float) -> int:
    """Channels times a width factor, at least 1.

    >>> scaled(64, 0.25)
    16
    """
    return max(round(channels * width), 1)


def divisible(channels: float) -> int:
    """The nearest multiple of 8, at least 8 and at least 90 %: the MobileNets' rule.

    >>> [divisible(c) for c in (3.2, 24.0, 44.8, 11.2)]
    [8, 24, 48, 16]
    """
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest + 8 if nearest < 0.9 * channels else nearest


def conv(
    features: int,
    size: int,
    *,
    name: str,
    stride: int = 1,
    padding: int | tuple[int, int] = 0,
    groups: int = 1,
    bias: nn.initializers.Initializer | None = None,
    kernel_init: nn.initializers.Initializer = he_normal_fan_out,
    dtype: DTypeLike | None = None,
) -> nn.Conv:
    """A square convolution, padded alike along both axes.

    'SAME' would pad a stride-2 convolution by (0, 1) where torchvision pads (1, 1). A
    convolution has derivatives of its own where XLA's are slow (`convolution_of`).

    Args:
      features: number of output channels.
      size: height and width of the kernel.
      name: name of the module.
      stride: stride in both directions.
      padding: number of zeros on every side, or numbers before and after.
      groups: number of groups of channels that do not mix.
      bias: initialiser of the bias; None for no bias.
      kernel_init: initialiser of the kernel.
      dtype: compute dtype.

    >>> layer, x = conv(8, 3, name="conv1", stride=2, padding=1), jnp.ones((1, 4, 4, 3))
    >>> jax.eval_shape(layer.init_with_output, jax.random.key(0), x)[0].shape
    (1, 2, 2, 8)
    """
    return PatternedConv(
        features,
        (size, size),
        strides=stride,
        padding=[(padding, padding) if isinstance(padding, int) else padding] * 2,
        feature_group_count=groups,
        use_bias=bias is not None,
        dtype=dtype,
        kernel_init=kernel_init,
        bias_init=bias or nn.initializers.zeros,
        name=name,
        conv_general_dilated=convolution_of(size, groups),
    )


def biased_conv(inputs: int, features: int, size: int, **options: Any) -> nn.Conv:
    """A `conv` of `inputs` channels with a bias, initialised as in PyTorch.

    >>> layer, x = biased_conv(3, 8, 3, name="conv1"), jnp.ones((1, 4, 4, 3))
    >>> params = jax.eval_shape(layer.init, jax.random.key(0), x)["params"]
    >>> params["kernel"].shape, params["bias"].shape
    ((3, 3, 3, 8), (8,))
    """
    init = torch_uniform(inputs * size * size)
    return conv(features, size, kernel_init=init, bias=init, **options)


def dense(
    features: int,
    *,
    fan_in: int,
    name: str,
    kernel_init: nn.initializers.Initializer | None = None,
    bias_init: nn.initializers.Initializer | None = None,
    dtype: DTypeLike | None = None,
) -> nn.Dense:
    """A fully connected layer with PyTorch's default initialisation.

    >>> layer, x = dense(2, fan_in=3, name="fc"), jnp.ones((1, 3))
    >>> params = jax.eval_shape(layer.init, jax.random.key(0), x)["params"]
    >>> params["kernel"].shape, params["bias"].shape
    ((3, 2), (2,))
    """
    default = torch_uniform(fan_in)
    return PatternedDense(
        features,
        dtype=dtype,
        kernel_init=kernel_init or default,
        bias_init=bias_init or default,
        name=name,
    )


def classifier(
    classes: int,
    *,
    name: str,
    kernel_init: nn.initializers.Initializer | None = None,
    bias_init: nn.initializers.Initializer | None = None,
    dtype: DTypeLike | None = None,
) -> Callable[[Array], Array]:
    """The last step of a network: a `dense` of its input, in float32.

    >>> step = partial(classifier, 2, dtype=jnp.bfloat16)
    >>> x = jnp.ones((1, 3))
    >>> y, variables = Chain((step,)).init_with_output(jax.random.key(0), x)
    >>> y.dtype, variables["params"]["0"]["kernel"].shape
    (dtype('float32'), (3, 2))
    """

    def step(x: Array) -> Array:
        layer = dense(
            classes,
            fan_in=x.shape[-1],
            name=name,
            kernel_init=kernel_init,
            bias_init=bias_init,
            dtype=dtype,
        )
        return layer(x).astype(jnp.float32)

    return step


def repeated(block: Callable[..., Any], count: int, *, stride: int) -> list[ChainStep]:
    """The steps of a group of blocks, the first of them with the stride.

    >>> [step.keywords["stride"] for step in repeated(nn.Conv, 3, stride=2)]
    [2, 1, 1]
    """
    return [partial(block, stride=s) for s in (stride, *[1] * (count - 1))]


def flatten(x: Float[Array, "batch h w c"]) -> Float[Array, "batch chw"]:
    """The images as vectors in PyTorch's order: channels, rows, columns.

    >>> flatten(jnp.arange(4.0).reshape(1, 1, 2, 2)).tolist()  # two pixels
    [[0.0, 2.0, 1.0, 3.0]]
    """
    return x.transpose(0, 3, 1, 2).reshape(x.shape[0], -1)


def tapped_relu(
    x: Float[Array, "*shape"], *, name: str, cap: float | None = None
) -> Float[Array, "*shape"]:
    """ReLU, or ReLU6 with `cap=6`, with a tap of that name on its output.

    The attribute `rectifier` of the outermost module that has one says which rectifier
    it is: `DyReLU`, named `dy` and the tap's name, in place of ReLU for "dyrelu".

    >>> class Layer(nn.Module):
    ...     rectifier: Rectifier = "relu"
    ...     @nn.compact
    ...     def __call__(self, x):
    ...         return tapped_relu(x, name="relu1", cap=6.0)
    >>> x = jnp.array([[-1.0, 2.0, 7.0]])
    >>> Layer().apply({}, x).tolist()
    [[0.0, 2.0, 6.0]]
    >>> list(Layer("dyrelu").init(jax.random.key(0), x)["params"])
    ['dyrelu1']
    """
    tap = Tap(name=name)
    if _rectifier(tap.parent) == "dyrelu":
        y = DyReLU(dtype=x.dtype, name=f"dy{name}")(x)
    else:
        y = nn.relu(x)
    return tap(y if cap is None else jnp.minimum(y, cap))


def _rectifier(module: Any) -> str:
    """The rectifier that the outermost module with such an attribute asks for."""
    found = "relu"
    while isinstance(module, nn.Module):
        found = getattr(module, "rectifier", found)
        module = module.parent
    return found


def relu(*, name: str, cap: float | None = None) -> Callable[[Array], Array]:
    """`tapped_relu` as a step of a `Chain`.

    >>> Chain((relu,)).apply({}, jnp.array([[-1.0, 2.0]])).tolist()
    [[0.0, 2.0]]
    """
    return partial(tapped_relu, name=name, cap=cap)


class Chain(nn.Module):
    """Steps one after another, named as `torch.nn.Sequential` names them.

    Attributes:
      steps: functions that take `name` and return a module or a function of the map:
        `partial(conv, 64, 3)`, `relu`.
      names: names of the steps; None for their positions.

    >>> steps = (partial(nn.Dense, 2), relu, partial(nn.Dense, 1))
    >>> x = jnp.ones((1, 3))
    >>> list(jax.eval_shape(Chain(steps).init, jax.random.key(0), x)["params"])
    ['0', '2']
    """

    steps: Sequence[ChainStep]
    names: Sequence[str] | None = None

    @nn.compact
    def __call__(self, x: Float[Array, "batch *map"]) -> Float[Array, "batch *out"]:
        """Returns the last step's output."""
        names = self.names or [str(i) for i in range(len(self.steps))]
        for name, step in zip(names, self.steps, strict=True):
            x = step(name=name)(x)
        return x
