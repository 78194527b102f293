"""Recipes of the data sets: name in TFDS, shapes, statistics, augmentation."""

from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Any

from dst_jax import checks
from dst_jax.data.augments import Augment, flip, moves_labels, pad_crop
from dst_jax.data.label_maps import LabelMaps

__all__ = ["Canvas", "Recipe", "find", "names", "recipe_of"]


@dataclass(frozen=True)
class Canvas:
    """What a data set of digits on canvases is made of.

    Attributes:
      digits: name of the data set whose digits are drawn.
      photographs: name of the data set whose photographs they are drawn on; None for a
        black canvas.
      train: number of canvases to train on.
      test: number of canvases to report on.
    """

    digits: str
    photographs: str | None = None
    train: int = 1200
    test: int = 400

    @property
    def sets(self) -> tuple[str, ...]:
        """The names of the data sets it is made of.

        >>> Canvas("mnist", photographs="imagenette").sets
        ('mnist', 'imagenette')
        """
        return tuple(filter(None, (self.digits, self.photographs)))


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
      label_maps: how the labels of pixels are stored; None if each image has one label.
      canvas: what the images are made of, where they are drawn.

    Raises:
      ValueError: the label maps have another number of classes, or an augmentation
        cannot move them.
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
    label_maps: LabelMaps | None = None
    canvas: Canvas | None = None

    def __post_init__(self) -> None:
        if self.label_maps is None:
            return
        if self.label_maps.num_classes != self.num_classes:
            raise ValueError(
                f"label_maps must have the {self.num_classes} classes of the recipe,"
                f" got {self.label_maps.num_classes}"
            )
        for augment in self.augment:
            if not moves_labels(augment):
                raise ValueError(
                    "augment must move images and label maps together, by an option"
                    f" `fill`, got {augment!r}"
                )

    @property
    def ignore(self) -> int | None:
        """The label of pixels that do not count; None where there are none.

        >>> recipe_of("digits_canvas").ignore
        """
        return None if self.label_maps is None else self.label_maps.ignore

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


def _canvas(
    canvas: Canvas, *, mean: tuple[float, ...], std: tuple[float, ...]
) -> Recipe:
    """Digits on a canvas: the classes 0 to 9 are theirs, 10 is that of all else."""
    return Recipe(
        tfds=None,
        train_split="train",
        test_split="test",
        num_classes=11,
        image_size=64,
        channels=len(mean),
        mean=mean,
        std=std,
        augment=(pad_crop,),
        label_maps=LabelMaps(11, ignore=None, outside=10),
        canvas=canvas,
    )


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
        # Statistics of canvases are those of the training canvases at 64 pixels.
        "digits_canvas": _canvas(Canvas("digits"), mean=(0.0859,), std=(0.1847,)),
        "mnist_canvas": _canvas(
            Canvas("mnist", train=4000, test=1000), mean=(0.0406,), std=(0.1482,)
        ),
        "digits_photographs": _canvas(
            Canvas("digits", photographs="imagenette", train=4000, test=1000),
            mean=(0.4936, 0.4887, 0.4634),
            std=(0.2555, 0.2535, 0.2744),
        ),
        "mnist_photographs": _canvas(
            Canvas("mnist", photographs="imagenette", train=4000, test=1000),
            mean=(0.4761, 0.4705, 0.4434),
            std=(0.2628, 0.2606, 0.2823),
        ),
    }
)


def names() -> tuple[str, ...]:
    """The data sets that can be loaded.

    >>> names()
    ('digits', 'mnist', 'cifar10', 'cifar100', 'imagenette', 'imagenet2012', ...)
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
