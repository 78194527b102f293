"""Images, label maps and what a network says of them, kept for a run's report."""

import base64
import io
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, UInt8
from PIL import Image

from dst_jax import data
from dst_jax.train.context import Context
from dst_jax.train.sharding import put_batch
from dst_jax.typing import Network, Variables

__all__ = ["write"]

_EXAMPLES = 4
_LARGEST = 256
"""Side in pixels: of larger images every second pixel is kept, or fewer."""


def write(context: Context, name: str, network: Network) -> None:
    """Writes examples/NAME.json, if each pixel of the test images has a label.

    Every process calls it. The images are the first readable ones of the test set.

    Args:
      context: the run's; its task says what the network predicts.
      name: name of the stage.
      network: the network at the end of the stage.
    """
    predictions = getattr(context.task, "predictions", None)
    if predictions is None:
        return
    examples = _first(context.dataset.test)
    if not examples or np.ndim(examples[0].label) != 2:
        return
    images = np.stack([example.image for example in examples])
    predicted = _predicted(context, network, images, predictions)
    context.run.write_examples(
        name,
        {
            "num_classes": context.dataset.num_classes,
            "ignore": context.dataset.ignore,
            "examples": [
                {
                    "image": _png(example.image),
                    "label": _png(np.asarray(example.label, np.uint8)[:, :, None]),
                    "predicted": _png(labels[:, :, None]),
                }
                for example, labels in zip(examples, predicted, strict=True)
            ],
        },
    )


def _first(split: data.Split) -> list[data.Example]:
    found = []
    for position in range(len(split)):
        try:
            found.append(split.example(position))
        except data.CorruptRecord:
            continue
        if len(found) == _EXAMPLES:
            break
    return found


def _predicted(
    context: Context,
    network: Network,
    images: UInt8[np.ndarray, "b h w c"],
    predictions: Callable[[Any], Array],
) -> UInt8[np.ndarray, "b h w"]:
    model = network.model

    def predict(variables: Variables, images: Array) -> Array:
        x = context.preprocess(images)
        return predictions(model(variables, x, train=False, rngs=None)[0])

    jitted = context.once(
        ("predictions", model), lambda: jax.jit(predict, out_shardings=context.sharding)
    )
    on_device = put_batch({"image": images}, context.mesh, sharded=False)
    found = jitted(dict(network.variables), on_device["image"])
    return np.asarray(jax.device_get(found)).astype(np.uint8)


def _png(image: UInt8[np.ndarray, "h w c"]) -> str:
    """A PNG in base64: RGB, or the first channel in grey."""
    step = -(-max(image.shape[:2]) // _LARGEST)
    small = image[::step, ::step]
    file = io.BytesIO()
    pixels = small if small.shape[2] == 3 else small[:, :, 0]
    Image.fromarray(np.ascontiguousarray(pixels)).save(file, "png")
    return base64.b64encode(file.getvalue()).decode("ascii")
