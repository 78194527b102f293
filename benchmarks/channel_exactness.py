"""Smaller networks against masked ones: random subsets of the groups of the whole zoo.

COMMAND
  python -m benchmarks.channel_exactness            two CPU cores: about 15 minutes

Every network at a small width, images as small as it takes. In each round every group
keeps a random number of random units; in every second round half of the groups, drawn
at random, stay whole. Groups that say that they are inexact stay whole throughout. The
outputs of `channels.smaller` are compared with those of the whole network of which the
same units are zero, and so are the gradients of the weights that are kept. A relative
difference above the tolerance ends in status 1, and so do outputs that hardly depend on
the images: constants alone would prove little.
"""

import statistics
import sys
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
import tyro
from rich.console import Console
from rich.table import Table

from dst_jax import channels, models, trees

__all__ = ["random_like"]

SIZES = {"densenet121": 32, "googlenet": 32, "lenet5": 16, "mlp": 8, "unet": 16}
SIZES |= dict.fromkeys(("mobilenet_v1", "mobilenet_v2", "vgg16_bn", "vgg19_bn"), 32)
SIZES |= {"efficientnet_lite0": 32}
WIDTHS = {f"resnet{6 * n + 2}": 0.25 for n in (3, 5, 7, 9, 18)}
WIDTHS |= {"mlp": 0.1, "vit_small": 0.17, "vit_tiny": 0.67, "wide_resnet28_10": 0.04}
WIDTHS |= dict.fromkeys(("mobilenet_v1", "vgg16_bn", "vgg19_bn"), 0.25)
WIDTHS |= dict.fromkeys(("densenet121", "densenet121_cifar", "googlenet_cifar"), 0.12)
SEEN = 1e-3  # by how much two images differ in the outputs, at least
# Programs that run once: compiled quickly.
QUICK: dict[str, Any] = {"xla_backend_optimization_level": 0}
QUICK |= {"xla_llvm_disable_expensive_passes": True}

Keep = Mapping[str, Any]


class Case(NamedTuple):
    """A network, its variables, images, and the groups that may be cut."""

    apply: Callable[..., Any]
    variables: Any
    images: Any
    groups: channels.Groups
    exact: tuple[str, ...]


def case(name: str) -> Case:
    """A network of the zoo at a small width, on images as small as it takes."""
    known = models.options(name)
    options: dict[str, Any] = {"width": WIDTHS.get(name, 0.06), "depth": 1}
    options["stem"] = "cifar"
    if name == "unet":
        options["depth"] = 5
    chosen = {key: value for key, value in options.items() if key in known}
    model = models.create(name, num_classes=3, **chosen)
    size, colours = SIZES.get(name, 8), models.task(name).image[2]
    x = jax.ShapeDtypeStruct((2, size, size, colours), np.float32)
    variables = jax.eval_shape(model.init, jax.random.key(0), x)
    variables = {k: variables[k] for k in variables if k != "activations"}
    groups = channels.groups(model.apply)(variables, x)
    exact = tuple(key for key, group in groups.items() if group.exact)
    drawn = random_like({"x": x, **variables})
    return Case(model.apply, drawn, drawn.pop("x"), groups, exact)


def random_like(tree: Any) -> Any:
    """NumPy arrays of these shapes, through which images are seen at the outputs.

    Kernels keep the scale, scales enlarge it, and biases are above 0, so that few units
    are constant.
    """
    rng = np.random.default_rng(0)

    def draw(name: str, leaf: Any) -> Any:
        x = rng.normal(size=leaf.shape)
        if len(leaf.shape) > 1:
            return np.float32(x * (2 / np.prod(leaf.shape[:-1])) ** 0.5)
        offset = {"scale": 1.25, "var": 1.0, "bias": 0.0}.get(name.rpartition("/")[2])
        return np.float32(x / 4 if offset is None else offset + abs(x) / 4)

    return trees.map_named(draw, tree)


def deviation(case: Case, whole: Callable[..., Any], keep: Keep) -> tuple[float, float]:
    """How much the smaller network differs from the masked one, and image from image.

    Args:
      case: the network.
      whole: its function, or that of its gradients, compiled.
      keep: what is kept of its groups.
    """
    small = channels.remove(case.variables, case.groups, keep)
    smaller = channels.smaller(case.apply, case.groups, keep)
    masked = channels.mask(case.variables, case.groups, keep)
    found = compiled(smaller, small, case.images)(small, case.images)
    expected = whole(masked, case.images)
    swapped = jax.tree.map(lambda x: x[::-1], expected)
    return difference(found, expected), difference(swapped, expected)


def compiled(fn: Callable[..., Any], *args: Any) -> Callable[..., Any]:
    """A function compiled for these arguments, without optimisations."""
    return jax.jit(fn).lower(*args).compile(compiler_options=QUICK)


def difference(found: Any, expected: Any) -> float:
    """The largest difference of two trees, relative to the largest number in them."""
    pairs = zip(*map(jax.tree.leaves, (found, expected)), strict=True)
    sizes = [(np.abs(a - b).max(), np.abs(b).max()) for a, b in pairs if b.size]
    differences, numbers = zip(*sizes, strict=True)
    return float(max(differences) / max(numbers))


def _summed(fn: Callable[..., Any]) -> Callable[..., Any]:
    """The gradient of a sum of squares of the outputs with respect to the variables."""
    return jax.grad(lambda variables, x: (fn(variables, x) ** 2).sum())


def _drawn(case: Case, rng: np.random.Generator, *, some: bool, half: bool) -> Keep:
    keep = {}
    for name in case.exact:
        size = case.groups[name].size
        if some and not half and rng.random() < 0.5:
            continue
        count = -(-size // 2) if half else rng.integers(1, size + 1)
        keep[name] = rng.permutation(size) < count
    return keep


def main(
    names: tuple[str, ...] = (),
    rounds: int = 4,
    gradients: int = 1,
    half: bool = False,
    seed: int = 0,
    tolerance: float = 1e-5,
) -> None:
    """Prints by network the largest relative difference, and that of two images.

    Args:
      names: networks; all by default.
      rounds: number of random subsets of every network.
      gradients: number of these whose gradients are compared too.
      half: whether every group keeps half of its units in every round; the programs of
        a network are then the same.
      seed: seed of the subsets.
      tolerance: largest difference that is allowed.
    """
    table = Table(
        title="largest relative differences; of two images: the median",
        title_justify="left",
    )
    headings = ("network", "groups", "cut", "units", "outputs", "gradients", "images")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "network" else "right")
    console, largest, blind = Console(), 0.0, []
    for name in names or models.names():
        own = case(name)
        rng = np.random.default_rng(seed)
        whole = compiled(own.apply, own.variables, own.images)
        slope = None
        outputs, seen, slopes = [], [], []
        for i in range(rounds):
            keep = _drawn(own, rng, some=i % 2 == 1, half=half)
            for found, number in zip(
                (outputs, seen), deviation(own, whole, keep), strict=True
            ):
                found.append(number)
            if i < gradients:
                slope = slope or compiled(_summed(own.apply), own.variables, own.images)
                slopes.append(_deviation_of_gradients(own, slope, keep))
        units = sum(own.groups[key].size for key in own.exact)
        numbers = (len(own.groups), len(own.exact), units)
        worst = [f"{max(x):.1e}" if x else "" for x in (outputs, slopes)]
        worst.append(f"{statistics.median(seen):.1e}")
        table.add_row(name, *map(str, numbers), *worst)
        console.print(name, *numbers, *worst)
        if statistics.median(seen) < SEEN:
            blind.append(name)
        largest = max(largest, *outputs, *slopes)
    console.print(table)
    if not largest <= tolerance:
        sys.exit(f"{largest:.1e} is above {tolerance}")
    if blind:
        sys.exit(f"hardly depend on the images (below {SEEN}): {', '.join(blind)}")


def _deviation_of_gradients(case: Case, slope: Callable[..., Any], keep: Keep) -> float:
    """As `deviation`, of the gradients of what is kept."""
    small = channels.remove(case.variables, case.groups, keep)
    smaller = _summed(channels.smaller(case.apply, case.groups, keep))
    masked = channels.mask(case.variables, case.groups, keep)
    found = compiled(smaller, small, case.images)(small, case.images)
    expected = jax.tree.map(np.asarray, slope(masked, case.images))
    return difference(found, channels.remove(expected, case.groups, keep))


if __name__ == "__main__":
    tyro.cli(main)
