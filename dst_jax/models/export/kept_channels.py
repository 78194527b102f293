"""Which channels of the whole network an exported file holds."""

from typing import Any

from dst_jax.models.smaller import Smaller
from dst_jax.models.torch.layout import layout_of
from dst_jax.typing import Network

__all__ = ["kept_channels"]


def kept_channels(model_name: str, network: Network, **options: Any) -> dict[str, Any]:
    """What is kept of the channels of a network, as JSON values for its card.

    Positions are those of the whole network, and tensors have PyTorch's names and axes:
    `w = w.index_select(axis, positions)` along every axis that is listed cuts a tensor
    of the whole network as that of the exported file was cut.

    Args:
      model_name: name of the whole network, from `models.names()`.
      network: the network.
      **options: options `num_classes`, `input_shape` and those of `models.create`, as
        in `importer.variables`.

    Returns:
      `groups` by name, of what shrinks together: `kept`, how many units of `whole`, and
      `units`, which; `tensors` by name, of every tensor that is smaller: its `shape`,
      that of the `whole` one and by axis the positions that are `kept`. Empty if
      nothing has been removed.

    >>> import jax, jax.numpy as jnp
    >>> from dst_jax import models
    >>> from dst_jax.models.linen import Linen
    >>> from dst_jax.models.smaller import groups_of, smaller_network
    >>> model = Linen(models.create("mlp", num_classes=2, hidden=(3,)))
    >>> x = jnp.ones((1, 2, 2, 1))
    >>> network = Network(model, model.init(jax.random.key(0), x))
    >>> keep = {"fc1": [True, False, True]}
    >>> small = smaller_network(network, groups_of(network, x), keep)
    >>> options = {"num_classes": 2, "hidden": (3,), "input_shape": (2, 2, 1)}
    >>> found = kept_channels("mlp", small, **options)
    >>> found["groups"]
    {'fc1': {'kept': 2, 'whole': 3, 'units': [0, 2]}}
    >>> found["tensors"]["fc2.weight"]
    {'shape': [2, 2], 'whole': [2, 3], 'kept': {'1': [0, 2]}}
    """
    if not isinstance(network.model, Smaller):
        return {}
    plan = network.model.plan
    groups = {
        name: {"kept": len(units), "whole": plan.sizes[name], "units": list(units)}
        for name, units in plan.kept.items()
    }
    tensors = {}
    for name, leaf in layout_of(model_name, **options).leaves.items():
        positions = plan.positions.get(leaf.path)
        if positions is None:
            continue
        kept = {
            str(axis): list(positions[own])
            for axis, own in enumerate(leaf.axes)
            if own in positions
        }
        whole = list(leaf.torch_shape)
        shape = [
            len(kept.get(str(axis), range(size))) for axis, size in enumerate(whole)
        ]
        tensors[name] = {"shape": shape, "whole": whole, "kept": kept}
    return {"groups": groups, "tensors": tensors}
