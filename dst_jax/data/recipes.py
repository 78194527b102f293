"""The data sets by name."""

from bisect import bisect
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import Any

from dst_jax import checks
from dst_jax.data.augments import flip, pad_crop
from dst_jax.data.label_maps import LabelMaps
from dst_jax.data.recipe import Canvas, Recipe

__all__ = ["KINDS", "MADE", "Canvas", "Recipe", "find", "names", "recipe_of"]

MADE = MappingProxyType({"folders": "dst_jax.data.folders:load"})
"""Data sets whose recipe is with their files: functions, as `module:attribute`."""

KINDS = MappingProxyType(
    {
        "folder": "dst_jax.data.class_folders:load",
        "arrays": "dst_jax.data.array_files:load",
        "tfds": "dst_jax.data.prepared_sets:load",
    }
)
"""What is in front of the colon of one's own images: functions of what is behind it."""

_FORMS = "folder:PATH, arrays:FILE.npz, tfds:NAME[/CONFIG], module:attribute"


# Over the training images of ImageNet, as used since fb.resnet.torch (2016) and by
# every torchvision model.
_IMAGENET_MEAN = (0.485, 0.456, 0.406)
_IMAGENET_STD = (0.229, 0.224, 0.225)


# The classes that are evaluated, as the official scripts number them ("trainId"); all
# others are ignored.
_CITYSCAPES_CLASSES = {
    **{7: 0, 8: 1, 11: 2, 12: 3, 13: 4, 17: 5, 19: 6, 20: 7, 21: 8, 22: 9, 23: 10},
    **{24: 11, 25: 12, 26: 13, 27: 14, 28: 15, 31: 16, 32: 17, 33: 18},
}
# The first id of each category: void, flat, construction, object, nature, sky, human,
# vehicle.
_CITYSCAPES_CATEGORIES = (0, 7, 11, 17, 21, 23, 24, 26)


def _cityscapes(num_classes: int, label_of: Callable[[int], int]) -> Recipe:
    """Cityscapes with the labels of its 34 classes replaced."""
    stored = tuple((value, label_of(value)) for value in range(34))
    return Recipe(
        tfds="cityscapes/semantic_segmentation",
        train_split="train",
        test_split="validation",
        num_classes=num_classes,
        image_size=512,
        channels=3,
        # Over the 2,975 training images; those of most published recipes.
        mean=(0.2869, 0.3251, 0.2839),
        std=(0.1870, 0.1902, 0.1872),
        augment=(flip,),
        photographs=True,
        manual_files=("leftImg8bit_trainvaltest.zip", "gtFine_trainvaltest.zip"),
        manual_site="cityscapes-dataset.com",
        image_feature="image_left",
        label_feature="segmentation_label",
        label_maps=LabelMaps(num_classes, ignore=255, outside=255, stored=stored),
    )


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


_CIFAR100 = Recipe(
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
        "cifar100": _CIFAR100,
        "cifar100_coarse": replace(
            _CIFAR100, num_classes=20, label_feature="coarse_label"
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
            manual_site="image-net.org",
        ),
        "cityscapes": _cityscapes(19, lambda x: _CITYSCAPES_CLASSES.get(x, 255)),
        "cityscapes_categories": _cityscapes(
            8, lambda x: bisect(_CITYSCAPES_CATEGORIES, x) - 1
        ),
        "oxford_iiit_pet": Recipe(
            tfds="oxford_iiit_pet",
            train_split="train",
            test_split="test",
            num_classes=3,
            image_size=128,
            channels=3,
            mean=_IMAGENET_MEAN,
            std=_IMAGENET_STD,
            augment=(flip,),
            photographs=True,
            label_feature="segmentation_mask",
            # Pet, background, and the border between them.
            label_maps=LabelMaps(
                3, ignore=255, outside=255, stored=((1, 0), (2, 1), (3, 2))
            ),
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
    """The data sets that have a recipe; `folders` can be loaded, too.

    >>> names()
    ('digits', 'mnist', 'cifar10', 'cifar100', 'cifar100_coarse', 'imagenette', ...)
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
        known = (*_RECIPES, *MADE)
        raise ValueError(
            f"data set {name!r} is not one of: {', '.join(known)}"
            f"{checks.suggestion(name, known)} (or {_FORMS})"
        )
    return _RECIPES[name]


def find(name: str, *, argument: str = "name") -> Any:
    """A recipe by name, or what opens a data set that has none.

    Args:
      name: name from `names()`, or `folders`; `folder:PATH`, `arrays:FILE.npz` or
        `tfds:NAME[/CONFIG]`; or `module:attribute` of a `Recipe` for TFDS, a `Dataset`
        or a function that returns one, as in `data.load`.
      argument: name of the caller's argument, for the message.

    Raises:
      ValueError: there is none of that name.

    >>> find("mnist").image_size
    28
    >>> find("folder:")
    Traceback (most recent call last):
    ValueError: name must be folder:PATH, ... or module:attribute, got 'folder:'
    """
    if name in MADE:
        return checks.resolve(MADE[name], argument=argument)
    kind, _, rest = name.partition(":")
    if ":" in name and not (kind and rest):
        raise ValueError(
            f"{argument} must be {_FORMS.replace(', module', ' or module')}, got"
            f" {name!r}"
        )
    if ":" in name and kind in KINDS:
        return partial(checks.resolve(KINDS[kind]), rest)
    try:
        return checks.lookup(argument, name, {**_RECIPES, **MADE})
    except ValueError as error:
        close = checks.suggestion(kind, KINDS) if ":" in name else ""
        if not close:
            raise
        raise ValueError(f"{error}{close}") from None
