"""The network in a checkpoint, without what only training needs."""

import json
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import flax.linen as nn
import orbax.checkpoint as ocp
from jax.sharding import Sharding
from jaxtyping import Array

from dst_jax.channels import Plan
from dst_jax.models.linen import as_model
from dst_jax.models.smaller import Smaller
from dst_jax.runs import Run
from dst_jax.train import integrity
from dst_jax.train.empty_arrays import unpacked
from dst_jax.train.sharding import abstract_like
from dst_jax.train.stage_order import directory_of
from dst_jax.trees import named_leaves
from dst_jax.typing import Model, Network, Variables

__all__ = [
    "PLANS",
    "CannotRestore",
    "differences",
    "is_without_model",
    "load_weights",
    "plan_of",
    "plans_in",
    "restoring",
    "shapes_on_disk",
    "weights_item",
    "with_model",
]

_logger = logging.getLogger(__name__)
PLANS = "plans"
"""The item of a checkpoint that says what has been removed from its network."""
_SHOWN = 3
"""How many of several differences a message names."""


class CannotRestore(ValueError):
    """A checkpoint whose files are whole, or seem so, cannot be restored.

    >>> print(CannotRestore(Path("/runs/a/checkpoints/dense/8"), "no such optimizer"))
    checkpoint /runs/a/checkpoints/dense/8 cannot be restored: no such optimizer. ...
    """

    def __init__(self, path: Path, reason: str):
        super().__init__(
            f"checkpoint {path} cannot be restored: {reason}. Nothing was changed; go"
            " on with the options and versions that it was written with, choose another"
            " run directory, or remove the checkpoint to start from the one before it"
        )


@contextmanager
def restoring(path: Path) -> Iterator[None]:
    """Turns any error inside into one that names the checkpoint.

    Args:
      path: directory of the checkpoint, or of several.

    Raises:
      CannotRestore: in place of whatever a reader raises.

    >>> with restoring(Path("/runs/a/8")):
    ...     raise RuntimeError("no such array")
    Traceback (most recent call last):
    dst_jax.train.saved_network.CannotRestore: checkpoint /runs/a/8 cannot be ...
    """
    # Orbax and TensorStore raise ValueError, OSError, KeyError and bare Exception.
    try:
        yield
    except CannotRestore:
        raise
    except Exception as error:
        reason = " ".join(str(error).split())
        raise CannotRestore(path, f"{type(error).__name__}: {reason[:400]}") from error


def load_weights(
    path: str | Path, *, sharding: Sharding, model: Model | nn.Module | None = None
) -> Network:
    """The network in any checkpoint, without its optimizer.

    Shapes are those on disk: a network that was made smaller is loaded as it is, and
    its model is what the plan in the checkpoint makes of the whole one.

    Args:
      path: a checkpoint (`.../checkpoints/STAGE/STEP`), a stage's directory (its
        newest intact checkpoint) or a run directory (that of its last stage, in the
        order that config.json has).
      sharding: where the arrays go.
      model: the function of the whole network, or a Linen module. Without it the
        network can be read, but not called; a run gives it its own model.

    Raises:
      ValueError: there is no intact checkpoint at `path`, or the run does not say which
        stage is the last.
      CannotRestore: an intact one cannot be read.
      OSError: a file cannot be read.

    >>> from dst_jax.train.sharding import make_mesh, replicated
    >>> load_weights("/nowhere", sharding=replicated(make_mesh()))
    Traceback (most recent call last):
    ValueError: no intact checkpoint at /nowhere; give a run directory, ...
    """
    step = _find_checkpoint(Path(path).absolute())
    with (
        restoring(step),
        ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader,
    ):
        shapes = shapes_on_disk(step, sharding)
        args = ocp.args.StandardRestore(shapes)
        found = unpacked(reader.restore(step / "weights", args=args))
    variables = {"params": found["params"], **found["model_state"]}
    with restoring(step):
        network = Network(_Unknown(plan_of(plans_in(step))), variables, found["mask"])
    return network if model is None else with_model(network, as_model(model))


def plans_in(checkpoint: Path) -> list[Any]:
    """What has been removed from the network in a checkpoint, as its model says.

    Args:
      checkpoint: directory of one checkpoint.

    >>> plans_in(Path("/runs/a/checkpoints/dense/8"))
    []
    """
    file = checkpoint / PLANS / "metadata"
    return json.loads(file.read_text())["plans"] if file.exists() else []


def with_model(network: Network, model: Model) -> Network:
    """A network with a model, if it was loaded without one.

    Args:
      network: the network.
      model: the function of the whole network, of which the plan in the checkpoint
        makes that of what is left.

    >>> network = Network(print, {"params": {}})
    >>> with_model(network, abs).model is print
    True
    """
    if not isinstance(network.model, _Unknown):
        return network
    plan = network.model.plan
    return network._replace(model=model if plan is None else Smaller(model, plan))


def is_without_model(network: Network) -> bool:
    """Whether a network was loaded without its model.

    >>> is_without_model(Network(print, {"params": {}}))
    False
    """
    return isinstance(network.model, _Unknown)


@dataclass(frozen=True)
class _Unknown:
    """In place of the model of a network that was loaded without one."""

    plan: Plan | None

    def __call__(
        self,
        variables: Variables,
        x: Array,
        *,
        train: bool = False,
        rngs: Mapping[str, Array] | None = None,
    ) -> Any:
        raise ValueError(
            "the network was loaded without its model: load_weights(model=)"
        )


def plan_of(plans: Sequence[Any]) -> Plan | None:
    """The plan of removal among what a model says of itself; None if there is none.

    Args:
      plans: from `plans_in`, or the record of a stage.

    >>> plan_of(["relu1: half"])  # from a model of another kind
    """
    own = [p for p in plans if isinstance(p, dict) and {"kept", "groups"} <= p.keys()]
    return Plan.from_json(own[-1]) if own else None


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
    return abstract_like(_metadata(checkpoint / "weights"), sharding)


def differences(item: Path, template: Any) -> list[str]:
    """What keeps arrays on disk from being restored as asked for.

    Args:
      item: directory of an item of a checkpoint.
      template: arrays, or their shapes and dtypes, as asked for.

    Returns:
      A line for each of the first differences: a name that is missing or unexpected,
      another shape, another dtype.
    """
    want = {name: _kind(x) for name, x in named_leaves(template).items()}
    have = {name: _kind(x) for name, x in named_leaves(_metadata(item)).items()}
    lines = [
        f"{name} is {have.get(name, 'missing')} there,"
        f" {want.get(name, 'not asked for')} now"
        for name in sorted(want.keys() | have.keys())
        if want.get(name) != have.get(name) and not _is_key(want, have, name)
    ]
    more = len(lines) - _SHOWN
    return lines[:_SHOWN] + ([f"and {more} more"] if more > 0 else [])


def _metadata(item: Path) -> dict[str, Any]:
    with ocp.Checkpointer(ocp.StandardCheckpointHandler()) as reader:
        return dict(reader.metadata(item).item_metadata)


def _kind(array: Any) -> str:
    return f"{array.dtype}{list(array.shape)}"


def _is_key(want: Mapping[str, str], have: Mapping[str, str], name: str) -> bool:
    """Whether a random key is asked for: on disk it is its numbers."""
    return want.get(name, "").startswith("key<") and "uint32" in have.get(name, "")


def _find_checkpoint(path: Path) -> Path:
    """The newest intact checkpoint of a run, of a stage, or the checkpoint itself."""
    if (path / "weights").is_dir():
        candidates = [path]
    elif (path / "checkpoints").is_dir():
        candidates = integrity.numbered(directory_of(Run(path, writer=False)))
    else:
        candidates = integrity.numbered(path)
    for candidate in candidates:
        fault = integrity.find_fault(candidate)
        if fault is None:
            return candidate
        _logger.warning("checkpoint %s %s; looking before it", candidate, fault)
    raise ValueError(
        f"no intact checkpoint at {path}; give a run directory, a stage's directory"
        " (RUN/checkpoints/STAGE) or one checkpoint (RUN/checkpoints/STAGE/STEP)"
    )
