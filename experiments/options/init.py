"""Options of the weights to start from: a run, a checkpoint, a file, torchvision's."""

import importlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import tyro

if TYPE_CHECKING:
    from dst_jax.train import Context
    from dst_jax.typing import Network
    from experiments.options.config import Config

__all__ = ["InitOptions"]

_PREFIX = "torchvision:"
_FILES = (".safetensors", ".pth", ".pt", ".bin")


@dataclass(frozen=True)
class InitOptions:
    """Trained weights to start from, instead of fresh ones."""

    path: Annotated[str | None, tyro.conf.arg(name="from")] = None
    """A run directory, a stage's checkpoints, one checkpoint, a .safetensors, .pth,
    .pt or .bin file, or torchvision:NAME."""

    def check(self, config: "Config") -> None:
        """Refuses a path that does not exist, and stages that need one.

        >>> from experiments.options import Config
        >>> InitOptions("nowhere").check(Config())
        Traceback (most recent call last):
        ValueError: --init.from: nowhere does not exist
        """
        source, stages = self.path, config.run.stages
        if source is None:
            if "pretrain" not in stages:
                first = stages[0] if stages else "nothing but evaluation"
                raise ValueError(
                    f"--run.stages starts with {first}: give --init.from its weights"
                )
        elif not source.startswith(_PREFIX) and not _exists(source):
            named = source if source.isprintable() else repr(source)
            raise ValueError(f"--init.from: {named} does not exist")

    def network(self, config: "Config", context: "Context") -> "Network | None":
        """The network, checked against the model; None if the option is not given.

        Raises:
          ValueError: the source cannot be read, or its weights do not fit the model.
        """
        from dst_jax import train

        source = self.path
        if source is None:
            return None
        if source.startswith(_PREFIX) or Path(source).suffix in _FILES:
            network = _from_torch(source, config, context)
        else:
            loaded = train.load_weights(source, sharding=context.sharding)
            network = context.with_model(loaded)
        context.check_weights(network)
        return network


def _exists(path: str) -> bool:
    try:
        return Path(path).exists()
    except (OSError, ValueError):  # too long for the system, or no text of a path
        return False


def _from_torch(source: str, config: "Config", context: "Context") -> "Network":
    import jax

    from dst_jax.models.torch import importer
    from dst_jax.typing import Network

    name, options = config.model.name, config.model.given()
    options |= {
        "num_classes": context.dataset.num_classes,
        "input_shape": context.dataset.image_shape,
    }
    mask = None
    try:
        if source.startswith(_PREFIX):
            module = _torchvision(source.removeprefix(_PREFIX))
            variables = importer.variables(name, module, **options)
        else:
            variables = importer.load(name, source, **options)
            mask = importer.masks(name, source, **options)
    except ModuleNotFoundError as error:
        raise ValueError(f"--init.from {source}: {error}") from None
    network = Network(context.model, variables, mask)
    return jax.device_put(network, context.sharding)


def _torchvision(name: str) -> Any:
    """A network of torchvision with the weights it is published with."""
    try:
        torchvision: Any = importlib.import_module("torchvision")
    except ImportError as error:
        raise ValueError(
            f"--init.from {_PREFIX}{name} needs torchvision, which cannot be imported"
            f" ({error}): pip install torch torchvision, or save the weights as"
            " .safetensors or .pth elsewhere and give the file"
        ) from None
    try:
        # The weights of the paper's baselines: V2 has another recipe and accuracy.
        return torchvision.models.get_model(name, weights="IMAGENET1K_V1").eval()
    except (ValueError, KeyError) as error:
        raise ValueError(f"--init.from {_PREFIX}{name}: {error}") from None
    except OSError as error:
        raise ValueError(
            f"--init.from {_PREFIX}{name}: the weights cannot be downloaded ({error});"
            " fetch them where there is a network, and give the file"
        ) from None
