"""Options of the data."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated, Any, Literal

from experiments.options.annotations import (
    AT_LEAST_1,
    FINITE,
    FREE,
    POSITIVE,
    SHARE,
    Range,
    at_most,
)
from experiments.options.texts import about

if TYPE_CHECKING:
    from dst_jax.data import Dataset
    from experiments.options.config import Config

__all__ = ["DataOptions", "with_preset"]

_SIDE = Range("at least 8", lambda x: x >= 8)
_OF_ITS_IMAGES = {
    "image_size": (
        "images are brought to {0} x {0} pixels (--data.image-size changes that, None"
        " is the set's own size)"
    ),
    "augment": (
        "training images are augmented by {0} (--data.augment changes that, None is the"
        " set's own)"
    ),
}
"""Options that a preset chooses for its own images, and what is said to others."""


@dataclass(frozen=True)
class DataOptions:
    """Which images, and how they are fed."""

    name: str = "digits"
    """Data set: see `python -m dst_jax.data prepare --help`; `digits` and
    `digits_canvas` need none. Your own: folder:PATH (a folder for each class),
    arrays:FILE.npz, tfds:NAME[/CONFIG], `folders` of images and label maps in
    --data.dir, or MODULE:ATTRIBUTE."""
    dir: Annotated[str | None, FREE] = None
    """Directory of prepared sets, or of `folders`; else $TFDS_DATA_DIR, else
    ~/tensorflow_datasets. A relative PATH or FILE starts from it."""
    image_size: Annotated[int | None, _SIDE, at_most(8192)] = None
    """Height and width of the images in pixels; the data set's own if not given."""
    channels: Literal[1, 3] | None = None
    """Channels of your own images: grey or RGB; as they are stored if not given."""
    batch_size: Annotated[int, AT_LEAST_1] = 128
    """Training images per step, over all devices of all hosts."""
    eval_batch_size: Annotated[int, AT_LEAST_1] = 256
    """Evaluation images per step, over all devices of all hosts."""
    holdout: Annotated[float | None, SHARE] = None
    """Share of the training set kept apart for choices; the set's own if not given."""
    augment: tuple[str, ...] | None = None
    """Augmentations in training: of pad_crop, flip, affine; the set's own if not given,
    none if given without a value."""
    standardise: bool = True
    """Subtract the set's mean and divide by its deviation; otherwise black is 0."""
    mean: Annotated[tuple[float, ...] | None, FINITE] = None
    """Mean of the pixels, from 0 to 1, by channel; the set's own if not given."""
    std: Annotated[tuple[float, ...] | None, POSITIVE] = None
    """Deviation of the pixels by channel, given with the mean."""
    threads: Annotated[int | None, AT_LEAST_1, at_most(1024), FREE] = None
    """Loader threads; one per core if not given."""
    workers: Annotated[int, Range("in [0, 1024]", lambda x: 0 <= x <= 1024), FREE] = 0
    """Loader processes, for hosts with many cores; 0 uses threads."""

    def load(self, *, recorded: Mapping[str, Any] | None = None) -> "Dataset":
        """The data set, opened.

        Args:
          recorded: what a run has recorded of it. Its mean and deviation are taken, as
            the network was trained with them, unless others are given.

        Raises:
          FileNotFoundError: it is not prepared; gives the command that does it.

        >>> len(DataOptions(holdout=0.25).load().train)
        898
        """
        from dst_jax import data

        options = self
        known = recorded is not None and {"mean", "std"} <= recorded.keys()
        if recorded and known and self.standardise and self.mean is None:
            found = {name: tuple(recorded[name]) for name in ("mean", "std")}
            options = replace(self, **found)
        return data.load(self.name, **options._arguments())

    def summary(self) -> dict[str, Any]:
        """Classes, shape and statistics of the images; reads data only from outside.

        >>> DataOptions(name="mnist").summary()["image_shape"]
        (28, 28, 1)
        """
        from dst_jax.data import recipes

        found = recipes.find(self.name)
        if not isinstance(found, recipes.Recipe):
            found = self.load()
            shape = found.image_shape
        else:
            found = found if self.standardise else found.without_statistics()
            if self.mean is not None and self.std is not None:
                found = replace(found, mean=self.mean, std=self.std)
            size = self.image_size or found.image_size
            shape = (size, size, found.channels)
        return {
            "num_classes": found.num_classes,
            "image_shape": shape,
            "mean": found.mean,
            "std": found.std,
            "ignore": found.ignore,
        }

    def feeding(self) -> dict[str, Any]:
        """How batches are fed, as `train.Context` takes it.

        >>> DataOptions(batch_size=64).feeding()["batch_size"]
        64
        """
        return {
            "batch_size": self.batch_size,
            "eval_batch_size": self.eval_batch_size,
            "threads": self.threads,
            "workers": self.workers,
        }

    def rehearse(self, config: "Config") -> None:
        """Checks the names, without reading data.

        Raises:
          ValueError: there is no data set or augmentation of a name, or a data set from
            outside does not take an option that is given.

        >>> from experiments.options import Config
        >>> DataOptions(name="imagenot").rehearse(Config())
        Traceback (most recent call last):
        ValueError: --data.name must be one of ('digits', 'mnist', ...
        """
        from dst_jax.data import augments, loading, options, recipes

        del config
        with about("--data.mean and --data.std"):
            options.check_statistics(self.mean, self.std, standardise=self.standardise)
        found = recipes.find(self.name, argument="--data.name")
        if not isinstance(found, recipes.Recipe):
            with about("--data.name"):
                loading.outside_arguments(self.name, found, **self._arguments())
        elif self.augment is not None:
            augments.by_names(self.augment)

    def _arguments(self) -> dict[str, Any]:
        """What `data.load` takes besides the name."""
        return {
            "data_dir": self.dir,
            "image_size": self.image_size,
            "channels": self.channels,
            "holdout": self.holdout,
            "augment": self.augment,
            "standardise": self.standardise,
            "mean": self.mean,
            "std": self.std,
        }


def with_preset(
    options: DataOptions, preset: DataOptions, argv: Sequence[str]
) -> tuple[DataOptions, str]:
    """The options of another data set than the preset's, and a line about them.

    The line names what the preset has chosen for its own images and is done with these,
    too; it is empty if that is nothing. A data set from outside that has no such option
    is not given it.

    Args:
      options: options with those of the command line in place of the preset's.
      preset: options of the preset.
      argv: the command line's arguments.

    Raises:
      ValueError: there is no such data set.

    >>> preset = DataOptions(image_size=16)
    >>> chosen = replace(preset, name="mnist")
    >>> print(with_preset(chosen, preset, ["--data.name", "mnist"])[1])
    mnist: images are brought to 16 x 16 pixels (--data.image-size changes that...
    >>> chosen = replace(preset, name="mnist", image_size=20)
    >>> with_preset(chosen, preset, ["--data.name=mnist", "--data.image-size=20"])[1]
    ''
    """
    from dst_jax.data import recipes

    if options.name == preset.name:
        return options, ""
    found = recipes.find(options.name, argument="--data.name")
    given = {text.partition("=")[0].replace("_", "-") for text in argv}
    said = []
    for name, words in _OF_ITS_IMAGES.items():
        value = getattr(options, name)
        if value is None or f"--data.{name.replace('_', '-')}" in given:
            continue
        if _takes(options.name, found, {name: value}):
            shown = value if isinstance(value, int) else ", ".join(value) or "nothing"
            said.append(words.format(shown))
        else:
            options = replace(options, **{name: None})
    return options, f"{options.name}: {'; '.join(said)}" if said else ""


def _takes(name: str, found: Any, option: Mapping[str, Any]) -> bool:
    """Whether a data set can be given an option."""
    from dst_jax.data import loading, recipes

    if isinstance(found, recipes.Recipe):
        return True
    try:
        loading.outside_arguments(name, found, **option)
    except ValueError:
        return False
    return True
