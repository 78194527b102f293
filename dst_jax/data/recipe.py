"""What a recipe says of a data set: name in TFDS, shapes, statistics, augmentation."""

from dataclasses import dataclass, replace

from dst_jax.data.augments import Augment, check_labels_move
from dst_jax.data.label_maps import LabelMaps

__all__ = ["Canvas", "Recipe"]


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
      tfds: name and configuration in TFDS; None for a set that is not in TFDS.
      train_split: name of the training split in TFDS.
      test_split: name of the split in TFDS that is reported on; it has public labels.
      num_classes: number of classes; labels are in [0, num_classes).
      image_size: default side in pixels; without `photographs` also the stored one.
      channels: number of channels, 1 for grey, 3 for RGB.
      mean: mean of pixels / 255 over the training split, per channel.
      std: standard deviation of pixels / 255 over the training split, per channel.
      augment: augmentations, applied in order in training.
      photographs: Whether the images have any size and are decoded on every access: a
        random-resized crop in training; in evaluation a centre crop, or the whole image
        where each pixel has a label. Others are decoded once.
      holdout: default fraction of the training split that is set aside.
      manual_files: archives that have to be downloaded by hand.
      manual_site: site that they are downloaded from.
      image_feature: name of the images in TFDS.
      label_feature: name of the labels, or label maps, in TFDS.
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
    manual_site: str = ""
    image_feature: str = "image"
    label_feature: str = "label"
    label_maps: LabelMaps | None = None
    canvas: Canvas | None = None

    def __post_init__(self) -> None:
        if self.canvas is not None and self.label_maps is None:
            raise ValueError("label_maps must be given for a canvas, got None")
        if self.label_maps is None:
            return
        if self.label_maps.num_classes != self.num_classes:
            raise ValueError(
                f"label_maps must have the {self.num_classes} classes of the recipe,"
                f" got {self.label_maps.num_classes}"
            )
        check_labels_move(self.augment)

    @property
    def ignore(self) -> int | None:
        """The label of pixels that do not count; None where there are none.

        >>> from dst_jax.data.recipes import recipe_of
        >>> recipe_of("digits_canvas").ignore
        """
        return None if self.label_maps is None else self.label_maps.ignore

    @property
    def outside(self) -> int | None:
        """The label of pixels from outside an image; None without label maps.

        >>> from dst_jax.data.recipes import recipe_of
        >>> recipe_of("digits_canvas").outside
        10
        """
        return None if self.label_maps is None else self.label_maps.outside

    def without_statistics(self) -> "Recipe":
        """The recipe with mean 0 and deviation 1, so that black stays 0.

        >>> from dst_jax.data.recipes import recipe_of
        >>> recipe_of("cifar10").without_statistics().std
        (1.0, 1.0, 1.0)
        """
        n = self.channels
        return replace(self, mean=(0.0,) * n, std=(1.0,) * n)
