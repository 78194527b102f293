"""Images, label maps and predictions, read from examples/NAME.json."""

import base64
import binascii
import io
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import UInt8
from PIL import Image

__all__ = ["Picture", "Pictures", "pictures"]


@dataclass(frozen=True, eq=False)
class Picture:
    """An image, the class of each of its pixels, and what the network says of them."""

    image: UInt8[np.ndarray, "h w *c"]
    label: UInt8[np.ndarray, "h w"]
    predicted: UInt8[np.ndarray, "h w"]


@dataclass(frozen=True)
class Pictures:
    """The pictures that a stage recorded.

    Attributes:
      examples: pictures, the same images for every stage of a run.
      num_classes: number of classes.
      ignore: label of pixels that do not count; None where there are none.
    """

    examples: tuple[Picture, ...]
    num_classes: int
    ignore: int | None


def pictures(record: Mapping[str, Any]) -> Pictures:
    """The pictures of examples/NAME.json.

    Args:
      record: object of the file.

    Raises:
      KeyError: an entry is missing.
      ValueError: an entry is no PNG.

    >>> pictures({"num_classes": 2, "ignore": None, "examples": []}).num_classes
    2
    """
    return Pictures(
        examples=tuple(
            Picture(*(_decoded(found[k]) for k in ("image", "label", "predicted")))
            for found in record["examples"]
        ),
        num_classes=int(record["num_classes"]),
        ignore=record["ignore"],
    )


def _decoded(text: str) -> UInt8[np.ndarray, "h w *c"]:
    try:
        content = base64.b64decode(text, validate=True)
        with Image.open(io.BytesIO(content), formats=["PNG"]) as image:
            return np.asarray(image)
    except (binascii.Error, OSError, SyntaxError) as error:
        raise ValueError(f"a picture is no PNG in base64: {error}") from None
