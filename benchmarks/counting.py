"""The cost of counting: a ResNet18 forward pass with and without exact counts.

COMMAND
  python -m benchmarks.counting            two CPU cores: about 2 minutes

Measures, in one process and in turns, a forward pass alone, with `cost.count`, and
with the method of other tools: a second convolution over the indicators of nonzero
inputs and nonzero weights. Both counts are compared first.
"""

from typing import Any

import jax
import jax.numpy as jnp
import tyro

from benchmarks.timing import interleaved, show
from dst_jax import cost, models, pruning
from dst_jax.jaxprs.tracing import visited


def main(batch: int = 64, size: int = 64, rounds: int = 15) -> None:
    """Prints the ratios.

    Args:
      batch: number of images per pass.
      size: height and width of the images.
      rounds: number of times that every variant is timed.
    """
    model = models.create("resnet18", num_classes=1000)
    images = jax.random.normal(jax.random.key(0), (batch, size, size, 3))
    variables = dict(jax.jit(model.init)(jax.random.key(1), images[:1]))
    params = variables["params"]
    mask = pruning.masks.magnitude(params, 0.6)
    variables["params"] = pruning.masks.apply(mask, params)

    def forward(variables: Any, x: Any) -> Any:
        return model.apply(variables, x)

    passes = {
        "alone": jax.jit(forward),
        "count": jax.jit(cost.count(forward, with_output=True)),
        "second convolution": jax.jit(
            visited(forward, _convolve_again, weights=0, with_output=True)
        ),
    }
    _compare(
        passes["count"](variables, images),
        passes["second convolution"](variables, images),
    )
    variants = {
        name: lambda run=run: run(variables, images) for name, run in passes.items()
    }
    show(
        f"ResNet18, batch {batch}, {size} px, {jax.devices()[0].device_kind}",
        interleaved(variants, rounds=rounds),
        {
            "forward pass, exact counts": ("count", "alone"),
            "forward pass, second convolution": ("second convolution", "alone"),
            "second convolution / exact counts": ("second convolution", "count"),
        },
    )


def _convolve_again(eqn: Any, args: list[Any], results: list[Any]) -> Any:
    """Products of two nonzeros, computed by the same operation on indicators."""
    del results
    masks = [(arg.array != 0).astype(jnp.float32) for arg in args]
    return eqn.primitive.bind(*masks, **eqn.params).sum()


def _compare(counted: Any, convolved: Any) -> None:
    """Refuses to time two counts that differ by more than the rounding of float32."""
    for name, counts in counted[1].items():
        exact, rounded = int(counts.effectual), float(convolved[1][name])
        if abs(exact - rounded) > 1e-4 * exact:
            raise AssertionError(f"{name}: {exact} by cost.count, {rounded} convolved")


if __name__ == "__main__":
    tyro.cli(main)
