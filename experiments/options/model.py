"""Options of the network."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Literal

from experiments.options.annotations import Range
from experiments.options.texts import about, pairs, value

if TYPE_CHECKING:
    from experiments.options.config import Config

__all__ = ["ModelOptions"]


@dataclass(frozen=True)
class ModelOptions:
    """The network."""

    name: str = "resnet18"
    """One of models.names(), or MODULE:ATTRIBUTE; `python -m dst_jax.models NAME`
    describes it."""
    stem: Literal["imagenet", "cifar"] | None = None
    """First layer of a ResNet: 7x7/2 with pooling, or 3x3."""
    width: Annotated[float | None, Range("in (0, 16]", lambda x: 0 < x <= 16)] = None
    """Factor on a ResNet's channel counts."""
    relu_logits: bool | None = None
    """LeNet5: a ReLU after the logits, as the original baseline has."""
    options: tuple[str, ...] = ()
    """Any option of the network: NAME=VALUE, see models.options(NAME). A list is
    written with commas: hidden=300,100."""
    dtype: Literal["float32", "bfloat16"] = "float32"
    """What is computed in; parameters stay float32."""

    def given(self) -> dict[str, Any]:
        """The options of `models.create` that are given; others are left to the model.

        Raises:
          ValueError: an option is not NAME=VALUE, or is given twice.

        >>> ModelOptions(stem="cifar", options=("dropout=0.1",)).given()
        {'stem': 'cifar', 'dropout': 0.1}
        """
        names = ("stem", "width", "relu_logits")
        found = {name: getattr(self, name) for name in names}
        found = {name: value for name, value in found.items() if value is not None}
        with about("--model.options"):
            for name, text in pairs(self.options):
                if name in found:
                    raise ValueError(f"{name} is given twice")
                if name == "dtype":
                    raise ValueError("dtype is given by --model.dtype")
                found[name] = value(text)
        return found

    def arguments(self) -> dict[str, Any]:
        """The options that are given, and the dtype.

        >>> ModelOptions(width=0.5).arguments()
        {'width': 0.5, 'dtype': dtype('float32')}
        """
        import jax.numpy as jnp

        from dst_jax import models

        options = self.given()
        # A network from outside may compute in float32 alone.
        if self.dtype != "float32" or "dtype" in models.options(self.name):
            options["dtype"] = jnp.dtype(self.dtype)
        return options

    def create(self, *, num_classes: int) -> Any:
        """The network.

        Raises:
          ValueError: an unknown name or option, a value out of range, or no network.

        >>> ModelOptions("mlp", options=("hidden=8,",)).create(num_classes=2).hidden
        (8,)
        """
        from dst_jax import models

        self.given()  # errors of --model.options name that option
        with about(f"--model.name {self.name}"):
            return models.create(self.name, num_classes=num_classes, **self.arguments())

    def rehearse(self, config: "Config") -> None:
        """Creates the network for two classes, to check its name and options.

        Raises:
          ValueError: from the library, naming the value and what is allowed.

        >>> from experiments.options import Config
        >>> ModelOptions(width=0.0).rehearse(Config())
        Traceback (most recent call last):
        ValueError: --model.name resnet18: width must be in (0, 16], got 0.0
        """
        del config
        self.create(num_classes=2)
