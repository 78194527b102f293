"""What the benchmarks against PyTorch time: a forward pass and a training step.

A training step is forward, backward, SGD with momentum, and BatchNorm's statistics
updated. PyTorch runs eagerly.
"""

from collections.abc import Callable
from importlib import import_module
from typing import Any

import jax
import jax.numpy as jnp
import optax

__all__ = ["Network", "in_jax", "in_pytorch"]

Network = Callable[..., Any]
"""A function of variables and images, and of `train`, as `flax.linen.Module.apply`."""


def in_jax(
    evaluate: Network, train: Network, variables: Any, x: jax.Array
) -> dict[str, Callable[[], object]]:
    """Calls of a network here, "forward" and "training step".

    Args:
      evaluate: function `(variables, x) -> logits`.
      train: function `(variables, x) -> (logits, updated collections)`.
      variables: parameters and statistics.
      x: images.
    """
    labels = jnp.arange(len(x))
    tx = optax.sgd(1e-3, momentum=0.9)
    forward = jax.jit(evaluate)

    def step(params: Any, statistics: Any, state: Any) -> Any:
        def loss(params: Any) -> Any:
            logits, updated = train({"params": params, **statistics}, x)
            losses = optax.softmax_cross_entropy_with_integer_labels(logits, labels)
            return losses.mean(), updated

        grads, updated = jax.grad(loss, has_aux=True)(params)
        updates, state = tx.update(grads, state)
        return optax.apply_updates(params, updates), updated, state

    take = jax.jit(step, donate_argnums=(0, 1, 2))
    # Copies: a step takes its arguments away, and the forward pass keeps its own.
    params, statistics = jax.tree.map(
        jnp.copy,
        (variables["params"], {k: v for k, v in variables.items() if k != "params"}),
    )
    carried = [(params, statistics, tx.init(params))]

    def train_once() -> object:
        carried.append(take(*carried.pop()))
        return carried[0]

    return {"forward": lambda: forward(variables, x), "training step": train_once}


def in_pytorch(network: Any, x: Any) -> dict[str, Callable[[], object]]:
    """Calls of a PyTorch module, "forward" and "training step".

    Args:
      network: module that returns logits.
      x: images.
    """
    torch: Any = import_module("torch")  # the types are checked without it as well
    optimizer = torch.optim.SGD(network.parameters(), lr=1e-3, momentum=0.9)
    labels = torch.arange(len(x))

    def forward() -> object:
        network.eval()
        with torch.inference_mode():
            return network(x).numpy()

    def train_once() -> object:
        network.train()
        optimizer.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(x), labels)
        loss.backward()
        optimizer.step()
        return loss.item()

    return {"forward": forward, "training step": train_once}
