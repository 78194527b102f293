"""scikit-learn's handwritten digits: 1,797 images that need no download."""

import numpy as np

from dst_jax.data import images
from dst_jax.data.recipes import Recipe
from dst_jax.data.records import DecodedRecords

__all__ = ["load_digits"]

_SPLIT_SEED = 0


def load_digits(recipe: Recipe, *, size: int) -> tuple[DecodedRecords, DecodedRecords]:
    """The digits, in a fixed random split into 1,198 training and 599 test images.

    The pixels, 0 to 16 on a grid of 8 x 8, are scaled to 0 to 255 and resized.

    Args:
      recipe: recipe of `digits`.
      size: side of the images in pixels.

    Reference: UCI Optical Recognition of Handwritten Digits, test part; Alpaydin and
    Kaynak 1998.

    >>> from dst_jax.data.recipes import recipe_of
    >>> train, test = load_digits(recipe_of("digits"), size=8)
    >>> train.images.shape, len(test)
    ((1198, 8, 8, 1), 599)
    """
    # Not at the top: it imports SciPy, which no other data set needs.
    from sklearn import datasets

    values, labels = datasets.load_digits(return_X_y=True)
    pixels = np.rint(np.asarray(values) * (255 / 16)).astype(np.uint8)
    pixels = pixels.reshape(-1, 8, 8, 1)
    resized = np.stack([images.resize(image, size) for image in pixels])
    labels = np.asarray(labels).astype(np.int32)
    # RandomState, unlike Generator, promises the same numbers in every NumPy.
    order = np.random.RandomState(_SPLIT_SEED).permutation(len(labels))
    test, train = np.split(order, [len(labels) // 3])
    return (
        DecodedRecords(resized[train], labels[train], recipe.augment, {}),
        DecodedRecords(resized[test], labels[test], recipe.augment, {}),
    )
