"""What finding groups and removing channels cost, beside tracing the network.

COMMAND
  python -m benchmarks.channel_tracing              two CPU cores: about 2 minutes

In one process and in turns: `jax.make_jaxpr` of a network on images of 224 pixels, and
`channels.groups` of it, which traces it too; nothing is compiled. Then, for ResNet50,
the removal of half of every group from all variables, and the trace of what is left.
"""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
import tyro

from benchmarks.channel_exactness import random_like
from benchmarks.timing import interleaved, show
from dst_jax import channels, models

NETWORKS = ("densenet121", "resnet50", "mobilenet_v2", "googlenet", "vit_tiny", "unet")


def main(names: tuple[str, ...] = NETWORKS, rounds: int = 9, size: int = 224) -> None:
    """Prints the ratios.

    Args:
      names: networks.
      rounds: number of times that every variant is timed.
      size: height and width of the images.
    """
    variants, pairs = {}, {}
    for name in names:
        model, variables, x = _network(name, size)
        found = channels.groups(model.apply)
        variants[f"{name} trace"] = partial(_traced, model.apply, variables, x)
        variants[f"{name} groups"] = partial(_called, found, variables, x)
        pairs[f"{name}: groups / make_jaxpr"] = (f"{name} groups", f"{name} trace")
    show(f"{size} px", interleaved(variants, rounds=rounds), pairs)
    model, variables, x = _network("resnet50", size)
    groups = channels.groups(model.apply)(variables, x)
    keep = {name: np.arange(g.size) < g.size / 2 for name, g in groups.items()}
    weights = random_like(variables)
    small = channels.remove(weights, groups, keep)
    replayed = channels.smaller(model.apply, groups, keep)

    def removed() -> Any:
        return channels.remove(weights, groups, keep)

    steps = {
        "remove": removed,
        "smaller": partial(_traced, replayed, small, x),
        "trace": partial(_traced, model.apply, variables, x),
    }
    ratios = {
        "ResNet50: removal of half / make_jaxpr": ("remove", "trace"),
        "ResNet50: trace of what is left / make_jaxpr": ("smaller", "trace"),
    }
    show(f"ResNet50, {size} px", interleaved(steps, rounds=rounds), ratios)


def _traced(fn: Callable[..., Any], *args: Any) -> None:
    jax.make_jaxpr(lambda *args: fn(*args))(*args)  # another function at every call


def _called(fn: Callable[..., Any], *args: Any) -> None:
    fn(*args)


def _network(name: str, size: int) -> tuple[Any, Any, Any]:
    """A network of its published width, and the shapes of its variables and images."""
    model = models.create(name, num_classes=1000)
    x = jax.ShapeDtypeStruct((2, size, size, 3), np.float32)
    variables: Any = jax.eval_shape(model.init, jax.random.key(0), x)
    return model, {k: variables[k] for k in variables if k != "activations"}, x


if __name__ == "__main__":
    tyro.cli(main)
