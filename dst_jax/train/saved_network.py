"""The network in a checkpoint, without what only training needs."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import flax.linen as nn
import orbax.checkpoint as ocp
from jax.sharding import Sharding
from jaxtyping import Array

from dst_jax.models.linen import as_model
from dst_jax.train import integrity
from dst_jax.train.sharding import abstract_like
from dst_jax.typing import Model, Network, Variables

__all__ = [
    "is_without_model",
    "load_weights",
    "shapes_on_disk",
    "weights_item",
]


def load_weights(
    path: str | Path, *, sharding: Sharding, model: Model | nn.Module | None = None
) -> Network:
    """The network in any checkpoint, without its optimizer.

    Shapes are those on disk: a network that was made smaller is loaded as it is.

    Args:
      path: a checkpoint (`.../checkpoints/STAGE/STEP`), a stage's directory (its
        newest intact checkpoint) or a run directory (its last stage's).
      sharding: where the arrays go.
      model: the network's function, or a Linen module. Without it the network can be
        read, but not called; a run gives it its own model.

    Raises:
      ValueError: there is no intact checkpoint at `path`.

    >>> from dst_jax.train.sharding import make_mesh, replicated
    >>> load_weights("/nowhere", sharding=replicated(make_mesh()))
    Traceback (most recent call last):
    ValueError: no intact checkpoint at /nowhere; give a run directory, ...
    """
    step = _find_checkpoint(Path(path).absolute())
    shapes = shapes_on_disk(step, sharding)
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
        found = reader.restore(step / "weights", args=ocp.args.StandardRestore(shapes))
    variables = {"params": found["params"], **found["model_state"]}
    own = _unknown if model is None else as_model(model)
    return Network(own, variables, found["mask"])


def is_without_model(network: Network) -> bool:
    """Whether a network was loaded without its model.

    >>> is_without_model(Network(print, {"params": {}}))
    False
    """
    return network.model is _unknown


def _unknown(
    variables: Variables,
    x: Array,
    *,
    train: bool = False,
    rngs: Mapping[str, Array] | None = None,
) -> Any:
    raise ValueError("the network was loaded without its model: load_weights(model=)")


def weights_item(network: Network) -> dict[str, Any]:
    """The item `weights` of a checkpoint: its parameters, other variables and mask.

    >>> weights_item(Network(print, {"params": 1, "batch_stats": 2}))
    {'params': 1, 'model_state': {'batch_stats': 2}, 'mask': None}
    """
    return {
        "params": network.params,
        "model_state": network.model_state,
        "mask": network.mask,
    }


def shapes_on_disk(checkpoint: Path, sharding: Sharding) -> dict[str, Any]:
    """The shapes and dtypes of the item `weights` of a checkpoint.

    Args:
      checkpoint: directory of one checkpoint.
      sharding: sharding that its arrays will have.
    """
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
        metadata = reader.metadata(checkpoint / "weights").item_metadata
    return abstract_like(dict(metadata), sharding)


def _find_checkpoint(path: Path) -> Path:
    if (path / "checkpoints").is_dir():
        stages = [p for p in (path / "checkpoints").iterdir() if p.is_dir()]
        stages = sorted(stages, key=lambda p: p.stat().st_mtime, reverse=True)
    else:
        stages = [path]
    for stage in stages:
        candidates = (
            [stage] if (stage / "weights").is_dir() else integrity.numbered(stage)
        )
        for candidate in candidates:
            if integrity.find_fault(candidate) is None:
                return candidate
    raise ValueError(
        f"no intact checkpoint at {path}; give a run directory, a stage's directory"
        " (RUN/checkpoints/STAGE) or one checkpoint (RUN/checkpoints/STAGE/STEP)"
    )
