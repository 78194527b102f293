"""How long a smaller network takes next to the whole one, on this machine."""

import os
import statistics
import time
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from dst_jax import train
from dst_jax.models.smaller import Smaller
from dst_jax.typing import Network
from experiments.running import finished_run

__all__ = ["alternating", "relative_time", "time_stages"]


def time_stages(context: train.Context, *, runs: int, batch: int) -> None:
    """Adds forward times to the records of stages whose networks are smaller.

    Args:
      context: context of the run.
      runs: number of runs of each network.
      batch: number of images of a run.
    """
    for name in finished_run.stage_names(context.run):
        found = context.run.read_stage(name) or {}
        if not found.get("network", {}).get("plans"):
            continue
        network = finished_run.network_at_end(context, name)
        if not isinstance(network.model, Smaller):
            continue
        x = jnp.zeros((batch, *context.example.shape[1:]), context.example.dtype)
        calls = {"whole": _forward(_whole(network), x), "smaller": _forward(network, x)}
        context.console.say(f"{name}: timing {runs} runs of {batch} images")
        medians = alternating(calls, runs=runs)
        machine = {**train.records.provenance()["machine"], "cores": os.cpu_count()}
        record = {"batch": batch, "runs": runs, "seconds": medians, "machine": machine}
        context.run.write_stage(name, {**found, "forward_time": record})


def alternating(
    calls: Mapping[str, Callable[[], object]], *, runs: int
) -> dict[str, float]:
    """The median seconds of each call, of runs that take turns.

    Args:
      calls: functions without arguments, by name; each is called twice before.
      runs: number of runs of each.

    >>> list(alternating({"a": lambda: None, "b": lambda: None}, runs=3))
    ['a', 'b']
    """
    for call in (*calls.values(), *calls.values()):
        call()
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(runs):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            seconds[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in seconds.items()}


def relative_time(
    network: Network, baseline: Network, x: jax.Array, *, runs: int
) -> float | None:
    """The time of a forward pass over that of another network; None without runs.

    Args:
      network: the network.
      baseline: the other one.
      x: the input of both.
      runs: number of runs of each, which take turns; the medians are compared.

    >>> relative_time(Network(print, {}), Network(print, {}), jnp.ones(1), runs=0)
    """
    if runs == 0:
        return None
    calls = {"own": _forward(network, x), "other": _forward(baseline, x)}
    medians = alternating(calls, runs=runs)
    return medians["own"] / medians["other"]


def _whole(network: Network) -> Network:
    """The network before anything was removed; its values do not matter."""
    model = network.model
    assert isinstance(model, Smaller)
    shapes = model.whole_variables(network.variables)
    filled = jax.tree.map(lambda leaf: jnp.full(leaf.shape, 0.01, leaf.dtype), shapes)
    return Network(model.whole, filled)


def _forward(network: Network, x: jax.Array) -> Callable[[], object]:
    def outputs(variables: Mapping[str, object], x: jax.Array) -> object:
        return network.model(variables, x, train=False, rngs=None)[0]

    compiled = jax.jit(outputs)
    variables = dict(network.variables)
    return lambda: jax.block_until_ready(compiled(variables, x))
