"""Trained weights to start from: a run, a checkpoint, a file, torchvision's own."""

import importlib
from pathlib import Path
from typing import Any

import jax

from dst_jax import train
from dst_jax.models.torch import importer as torch_import
from dst_jax.typing import Network
from experiments.config import Config, network

__all__ = ["init_weights", "is_file", "is_torchvision"]

_PREFIX = "torchvision:"
_FILES = (".safetensors", ".pth", ".pt", ".bin")


def is_torchvision(source: str) -> bool:
    """Whether `--init.from` names weights of the user's torchvision."""
    return source.startswith(_PREFIX)


def is_file(source: str) -> bool:
    """Whether `--init.from` names a file of weights with PyTorch's names."""
    return not is_torchvision(source) and Path(source).suffix in _FILES


def init_weights(config: Config, context: train.Context) -> Network | None:
    """The weights that `--init.from` names, checked against the model.

    Returns:
      None if the option is not given.

    Raises:
      ValueError: the source cannot be read, or its weights do not fit the model.
    """
    source = config.init.path
    if source is None:
        return None
    if is_torchvision(source) or is_file(source):
        weights = _from_torch(source, config, context)
    else:
        weights = context.with_model(
            train.load_weights(source, sharding=context.sharding)
        )
    context.check_weights(weights)
    return weights


def _from_torch(source: str, config: Config, context: train.Context) -> Network:
    name, options = config.model.name, network(config.model)
    options |= {
        "num_classes": context.dataset.num_classes,
        "input_shape": context.dataset.image_shape,
    }
    try:
        if is_torchvision(source):
            module = _torchvision(source.removeprefix(_PREFIX))
            variables = torch_import.variables(name, module, **options)
        else:
            variables = torch_import.load(name, source, **options)
    except ModuleNotFoundError as error:
        raise ValueError(f"--init.from {source}: {error}") from None
    return Network(context.model, jax.device_put(variables, context.sharding))


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
