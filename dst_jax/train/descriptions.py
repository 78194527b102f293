"""What a run's record says of its stages, its task and its networks."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from dst_jax.models.linen import Linen
from dst_jax.models.smaller import Smaller
from dst_jax.runs.object_names import name_of
from dst_jax.train import integrity, tasks
from dst_jax.train.saved_network import plan_of, plans_in
from dst_jax.train.stage import Stage
from dst_jax.train.tasks import Task
from dst_jax.trees import named_leaves
from dst_jax.typing import Model, Network

__all__ = ["model", "network", "plain", "plan", "widths"]


def plan(stages: Sequence[Stage], task: Task, start: Network) -> dict[str, Any]:
    """What a run is about to do, for config.json: stages, task, model.

    Args:
      stages: all phases, in order.
      task: the run's task.
      start: the network that the first stage starts from; shapes will do.

    Returns:
      `stages`, the rows' names in order; `checkpoints`, by row the directories of its
      phases in order; `titles`, what reports call them; `task` (see `tasks.record`);
      `model` (see `model`) with the `shapes` of its variables.

    >>> import numpy as np
    >>> from dst_jax import train
    >>> start = Network(print, {"params": {"w": np.zeros((2, 3))}})
    >>> stages = [train.stages.pretrain(epochs=1, optimizer=lambda **_: None)]
    >>> found = plan(stages, tasks.classification(), start)
    >>> found["titles"], found["model"]["shapes"]
    ({'pretrain': 'dense baseline'}, {'params/w': [2, 3]})
    """
    last = {stage.name: stage for stage in stages}
    return {
        "stages": list(last),
        "checkpoints": {n: [s.path for s in stages if s.name == n] for n in last},
        "titles": {name: stage.title for name, stage in last.items()},
        "task": tasks.record(task),
        "model": _original(start),
    }


def model(of: Model) -> dict[str, Any]:
    """A model's name, as `module:attribute`, and its options.

    Args:
      of: a function, or a Linen module as a model.

    Returns:
      `name` and `options`; and `opaque`, the options whose values JSON does not have,
      if there are any.

    >>> from dst_jax import models
    >>> found = model(Linen(models.create("mlp", num_classes=3, hidden=(8,))))
    >>> found["name"], found["options"]["hidden"]
    ('dst_jax.models.networks.mlp:MLP', [8])
    """
    options: dict[str, Any] = {}
    opaque: list[str] = []
    made: Any = of
    if isinstance(of, Linen):
        fields = [f.name for f in dataclasses.fields(of.module) if f.init]
        named = [name for name in fields if name not in ("parent", "name")]
        options = {name: plain(getattr(of.module, name)) for name in named}
        opaque = [name for name in named if not _is_plain(getattr(of.module, name))]
        made = type(of.module)
    found = {"name": name_of(made), "options": options}
    return found | ({"opaque": opaque} if opaque else {})


def network(handed_on: Network) -> dict[str, Any]:
    """What a stage's record says of the network that it hands on.

    Returns:
      `shapes` of its variables by path, and `plans`: what has been removed from the
      network that config.json names, as the model's attribute `plans` says.

    >>> import numpy as np
    >>> network(Network(print, {"params": {"w": np.zeros((2, 3))}}))
    {'shapes': {'params/w': [2, 3]}, 'plans': []}
    """
    plans = getattr(handed_on.model, "plans", ())
    return {"shapes": _shapes(handed_on), "plans": list(plans)}


def widths(checkpoints: Mapping[str, Path]) -> dict[str, dict[str, int]]:
    """By phase, the channels that are left of every group.

    Args:
      checkpoints: directory of the checkpoints of each phase.

    Returns:
      Only phases whose newest intact checkpoint has a plan of removal.

    >>> widths({"search1": Path("/runs/a/checkpoints/relaxation.search1")})
    {}
    """
    found = {}
    for phase, directory in checkpoints.items():
        steps = integrity.numbered(directory)
        intact = (step for step in steps if integrity.find_fault(step) is None)
        newest = next(intact, None)
        left = None if newest is None else plan_of(plans_in(newest))
        if left is not None:
            found[phase] = {name: len(units) for name, units in left.kept.items()}
    return found


def _original(start: Network) -> dict[str, Any]:
    """The model before anything was removed from it, and its shapes."""
    if isinstance(start.model, Smaller):
        variables = start.model.whole_variables(start.variables)
        start = Network(start.model.whole, variables)
    return model(start.model) | {"shapes": _shapes(start)}


def _shapes(of: Network) -> dict[str, list[int]]:
    leaves = named_leaves(dict(of.variables))
    return {path: list(leaf.shape) for path, leaf in leaves.items()}


def plain(value: Any) -> Any:
    """A value as JSON has it; text for what it does not have.

    >>> plain((1, "a", plain))
    [1, 'a', 'plain']
    """
    if isinstance(value, list | tuple):
        return [plain(x) for x in value]
    if _is_plain(value):
        return value
    return getattr(value, "__qualname__", None) or str(value)


def _is_plain(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return value is None or isinstance(value, bool | int | float | str)
