"""What a preset chooses for its own images, given another data set."""

import numpy as np
import pytest

from dst_jax import data
from experiments import compare_penalties, imagenet_resnet18
from experiments.grid import engine
from experiments.grid import launch as grid_launch
from experiments.options import DataOptions
from experiments.options.data import with_preset
from experiments.running import launch, training

PRESET = DataOptions(image_size=16, augment=("affine",))
SOURCES = (
    *("folder:flowers", "arrays:spots.npz", "tfds:flowers/small", "folders", "mnist"),
    f"{__name__}:sized",
)
SIZE = "images are brought to 16 x 16 pixels (--data.image-size changes that"


def sized(*, image_size=8, augment=()):
    """A data set that takes both options."""
    raise NotImplementedError


def unsized(*, holdout=0.2):
    """A data set of images that have one size."""
    images = np.zeros((20, 24, 24), np.uint8)
    records = [{"image": x, "label": i % 2} for i, x in enumerate(images)]
    return data.from_sources(records, class_names=["a", "b"], holdout=holdout)


def chosen(name, *argv, **options):
    own = DataOptions(
        **{"image_size": 16, "augment": ("affine",), **options, "name": name}
    )
    return with_preset(own, PRESET, ["--data.name", name, *argv])


@pytest.mark.parametrize("name", SOURCES)
def test_what_is_done_with_ones_own_images_is_said(name):
    options, note = chosen(name)
    assert (options.image_size, options.augment) == (16, ("affine",))
    assert note.startswith(f"{name}: {SIZE}")
    assert "augmented by affine (--data.augment changes that" in note


@pytest.mark.parametrize("argument", ["--data.image-size=32", "--data.image_size"])
def test_what_was_asked_for_is_not_said(argument):
    options, note = chosen("folder:flowers", argument, "32", image_size=32)
    assert options.image_size == 32
    assert "image-size" not in note
    assert "affine" in note


def test_nothing_is_said_of_the_presets_own_images():
    assert with_preset(PRESET, PRESET, []) == (PRESET, "")
    assert chosen("mnist", image_size=None, augment=None)[1] == ""


def test_a_set_without_the_options_is_not_given_the_presets():
    options, note = chosen(f"{__name__}:unsized")
    assert (options.image_size, options.augment, note) == (None, None, "")
    assert options.load().image_shape == (24, 24, 1)


def test_what_was_asked_for_is_not_dropped():
    options, _ = chosen(f"{__name__}:unsized", "--data.image-size", "16")
    assert options.image_size == 16  # refused when it is opened


@pytest.mark.parametrize(
    ("main", "presets", "place"),
    [
        (launch.main, imagenet_resnet18.PRESETS, training),
        (grid_launch.main, compare_penalties.PRESETS, engine),
    ],
)
def test_commands_pass_the_line_on(main, presets, place, monkeypatch, tmp_path):
    found = {}
    monkeypatch.setattr(place, "run", lambda *_, **options: found.update(options))
    argv = ["--preset", "demo", "--data.name", f"folder:{tmp_path}"]
    assert main("test", presets, doc="", argv=argv) == 0
    assert "--data.image-size changes that" in found["note"]
