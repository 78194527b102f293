"""The data sets themselves, where they are prepared."""

import os
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from dst_jax import data
from dst_jax.data.recipes import recipe_of

SIZES = {
    "mnist": (60_000, 10_000),
    "cifar10": (50_000, 10_000),
    "cifar100": (50_000, 10_000),
    "imagenette": (9_469, 3_925),
    "imagenet2012": (1_281_167, 50_000),
}


@pytest.fixture(params=SIZES, scope="module")
def dataset(request):
    folder = os.environ.get("TFDS_DATA_DIR")
    if not folder:
        pytest.skip("TFDS_DATA_DIR is not set")
    if not (Path(folder) / str(recipe_of(request.param).tfds)).is_dir():
        pytest.skip(f"{request.param} is not prepared in TFDS_DATA_DIR")
    size = 64 if recipe_of(request.param).photographs else None
    return data.load(request.param, image_size=size, holdout=0.0)


@pytest.mark.slow
def test_a_real_set_is_what_its_recipe_says(dataset):
    assert (len(dataset.train), len(dataset.test)) == SIZES[dataset.name]
    batches = list(islice(data.eval_batches(dataset.train, batch_size=500), 4))
    labels = np.concatenate([batch.label for batch in batches])
    pixels = np.concatenate([batch.image for batch in batches]) / np.float32(255)
    assert pixels.shape[1:] == dataset.image_shape
    assert labels.min() >= 0
    assert labels.max() < dataset.num_classes
    assert len(set(labels.tolist())) > 0.8 * dataset.num_classes
    # 2,000 images only; imagenette holds ten of ImageNet's classes, smaller here.
    np.testing.assert_allclose(pixels.mean((0, 1, 2)), dataset.mean, atol=0.03)
    np.testing.assert_allclose(pixels.std((0, 1, 2)), dataset.std, atol=0.06)


@pytest.mark.slow
def test_a_real_set_gives_batches(dataset):
    batch = next(data.train_iterator(dataset.train, batch_size=32, seed=0))
    assert batch["image"].shape == (32, *dataset.image_shape)
    assert batch["image"].std() > 10
    test = next(data.eval_batches(dataset.test, batch_size=32))
    assert test.image.shape == (32, *dataset.image_shape)
    assert len(dataset.train.corrupt) == 0
