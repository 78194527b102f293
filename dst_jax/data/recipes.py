"""Recipes of the data sets: name in TFDS, shapes, statistics, augmentation."""

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from dst_jax import checks
from dst_jax.data.augments import Augment, flip, pad_crop

__all__ = ["Recipe", "find", "names", "recipe_of"]


@dataclass(frozen=True)
class Recipe:
    """How one data set is read, augmented and normalised.

    Attributes:
      tfds: name and configuration in TFDS; None for a set that needs no download.
      train_split: name of the training split in TFDS.
      test_split: name of the split in TFDS that is reported on; it has public labels.
      num_classes: number of classes; labels are in [0, num_classes).
      image_size: default side in pixels; without `photographs` also the stored one.
      channels: number of channels, 1 for grey, 3 for RGB.
      mean: mean of pixels / 255 over the training split, per channel.
      std: standard deviation of pixels / 255 over the training split, per channel.
      augment: augmentations, applied in order in training.
      photographs: Whether the images have any size and are decoded on every access: a
        random-resized crop in training, a centre crop in evaluation. Others are decoded
        once.
      holdout: default fraction of the training split that is set aside.
      manual_files: archives that have to be downloaded by hand.
    """

    tfds: str | None
    train_split: str
    test_split: str
    num_classes: int
    image_size: int
    channels: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    augment: tuple[Augment, ...] = ()
    photographs: bool = False
    holdout: float = 0.1
    manual_files: tuple[str, ...] = ()

    def without_statistics(self) -> "Recipe":
        """The recipe with mean 0 and deviation 1, so that black stays 0.

        >>> recipe_of("cifar10").without_statistics().std
        (1.0, 1.0, 1.0)
        """
        n = self.channels
        return replace(self, mean=(0.0,) * n, std=(1.0,) * n)


# Over the training images of ImageNet, as used since fb.resnet.torch (2016) and by
# every torchvision model.
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)

_RECIPES = MappingProxyType(
    {
        "digits": Recipe(
            tfds=None,
            train_split="train",
            test_split="test",
            num_classes=10,
            image_size=16,
            channels=1,
            # Computed over the 1,198 training images at 16 pixels.
            mean=(0.3051,),
            std=(0.3191,),
            augment=(pad_crop,),
        ),
        "mnist": Recipe(
            tfds="mnist",
            train_split="train",
            test_split="test",
            num_classes=10,
            image_size=28,
            channels=1,
            # Computed over the 60,000 training images; those of PyTorch's example.
            mean=(0.1307,),
            std=(0.3081,),
        ),
        "cifar10": Recipe(
            tfds="cifar10",
            train_split="train",
            test_split="test",
            num_classes=10,
            image_size=32,
            channels=3,
            # Over the 50,000 training images, std over pixels; those of most published
            # recipes (some give the mean of per-image std, 0.2023 0.1994 0.2010).
            mean=(0.4914, 0.4822, 0.4465),
            std=(0.2470, 0.2435, 0.2616),
            augment=(pad_crop, flip),
        ),
        "cifar100": Recipe(
            tfds="cifar100",
            train_split="train",
            test_split="test",
            num_classes=100,
            image_size=32,
            channels=3,
            # Computed over the 50,000 training images.
            mean=(0.5071, 0.4865, 0.4409),
            std=(0.2673, 0.2564, 0.2762),
            augment=(pad_crop, flip),
        ),
        "imagenette": Recipe(
            tfds="imagenette/160px-v2",
            train_split="train",
            test_split="validation",
            num_classes=10,
            image_size=224,
            channels=3,
            mean=_IMAGENET_MEAN,
            std=_IMAGENET_STD,
            augment=(flip,),
            photographs=True,
        ),
        "imagenet2012": Recipe(
            tfds="imagenet2012",
            train_split="train",
            test_split="validation",
            num_classes=1000,
            image_size=224,
            channels=3,
            mean=_IMAGENET_MEAN,
            std=_IMAGENET_STD,
            augment=(flip,),
            photographs=True,
            holdout=0.02,
            manual_files=("ILSVRC2012_img_train.tar", "ILSVRC2012_img_val.tar"),
        ),
    }
)


def names() -> tuple[str, ...]:
    """The data sets that can be loaded.

    >>> names()
    ('digits', 'mnist', 'cifar10', 'cifar100', 'imagenette', 'imagenet2012')
    """
    return tuple(_RECIPES)


def recipe_of(name: str) -> Recipe:
    """The recipe of a data set.

    Raises:
      ValueError: there is none of that name.

    >>> recipe_of("cifar100").num_classes
    100
    """
    if name not in _RECIPES:
        raise ValueError(
            f"data set {name!r} is not one of: {', '.join(names())}"
            f"{checks.suggestion(name, _RECIPES)}"
        )
    return _RECIPES[name]


def find(name: str, *, argument: str = "name") -> Any:
    """A recipe by name, or any object as `module:attribute`.

    Args:
      name: name from `names()`, or `module:attribute` of a `Recipe` for TFDS, a
        `Dataset` or a function that returns one, as in `data.load`.
      argument: name of the caller's argument, for the message.

    Raises:
      ValueError: there is none of that name.

    >>> find("mnist").image_size
    28
    """
    return checks.lookup(argument, name, _RECIPES)
