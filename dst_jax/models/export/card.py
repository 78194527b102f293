"""A model card: network, metrics, sparsity, multiplications and training as data."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dst_jax.activations import patterns_of
from dst_jax.activations.tap import THRESHOLDS
from dst_jax.runs import FIRST_TASK
from dst_jax.trees import named_leaves

__all__ = ["model_card"]


def model_card(
    run: Mapping[str, Any],
    stage: Mapping[str, Any],
    *,
    num_classes: int,
    input: Mapping[str, Any],
    params_sha256: str,
    files: Sequence[Mapping[str, Any]] = (),
    channels: Mapping[str, Any] | None = None,
    class_names: Sequence[str] = (),
    variables: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The card of one stage of a run, as JSON values.

    Args:
      run: object of config.json: `config`, `command`, `seed`, `versions`, `git`,
        `machine`.
      stage: object of stages/NAME.json, the evaluation at the stage's end.
      num_classes: number of outputs of the network.
      input: description of the input, for instance `shape`, `mean`, `std`.
      params_sha256: digest of the parameters, as in summary.json.
      files: exported files, each with `name`, `bytes`, `sha256`.
      channels: what is kept of the channels, from `kept_channels`.
      class_names: name of each output, if they are known.
      variables: variables of the network, of which thresholds and patterns are read.

    Returns:
      `model`, `input`, `data`, `class_names` where they are known, `thresholds` (by map
      and kind) and `patterns` of activation maps where there are any, the metrics on
      the test set under the word that the task has for what it measures (`accuracy`;
      `metrics` if it has none), `sparsity` (shares of zeros in [0, 1]: of the prunable
      weights, of the activation maps in both averages, and per layer),
      `multiplications` (exact sums over the test set, total and per layer) and `drop`,
      `channels` (empty if none has been removed), `params_sha256`, `files`, `training`.

    Raises:
      ValueError: a record lacks an entry.

    >>> model_card({}, {}, num_classes=10, input={}, params_sha256="")
    Traceback (most recent call last):
    ValueError: the run's records have no entry 'config'
    """
    try:
        config = run["config"]
        return {
            "model": {**_given(config["model"]), "num_classes": num_classes},
            "input": dict(input),
            "data": config["data"]["name"],
            **({"class_names": list(class_names)} if class_names else {}),
            **_activations(variables or {}),
            "stage": stage["name"],
            **_metrics(stage),
            "sparsity": {
                "weights": stage["weight_sparsity"],
                "activations": stage["activation_sparsity"],
                "layers": _take(stage["layers"], "weights", "activations"),
            },
            "multiplications": {
                **_totals(stage["layers"]["counts"]),
                "layers": stage["layers"]["counts"],
            },
            "drop": stage["flops_drop"],
            "channels": dict(channels or {}),
            "params_sha256": params_sha256,
            "files": [dict(file) for file in files],
            "training": _take(
                run, "config", "command", "seed", "versions", "git", "machine"
            ),
        }
    except KeyError as error:
        raise ValueError(f"the run's records have no entry {error}") from None


def _metrics(stage: Mapping[str, Any]) -> dict[str, Any]:
    """The metrics that the stage's task has titles for, the best one among them."""
    task = stage.get("task") or FIRST_TASK
    best = task["best"][0]
    others = [name for name in (*task["titles"], "loss") if name in stage]
    names = dict.fromkeys((best, *others, "examples"))
    return {task.get("measure", "metrics"): _take(stage, *names)}


def _activations(variables: Mapping[str, Any]) -> dict[str, Any]:
    """What taps read: thresholds as `{map: {kind: t}}`, and patterns as texts."""
    leaves = named_leaves(dict(variables.get(THRESHOLDS, {})))
    thresholds: dict[str, Any] = {}
    for path, t in leaves.items():
        name, _, kind = path.rpartition("/")
        thresholds[name] = {kind: np.asarray(t).tolist()}
    found = {"thresholds": thresholds, "patterns": patterns_of(variables)}
    return {name: value for name, value in found.items() if value}


def _given(options: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if value is not None}


def _take(record: Mapping[str, Any], *names: str) -> dict[str, Any]:
    return {name: record[name] for name in names}


def _totals(counts: Mapping[str, Mapping[str, int]]) -> dict[str, int]:
    kinds = ("dense", "valid", "by_activation", "by_weight", "effectual")
    return {kind: sum(layer[kind] for layer in counts.values()) for kind in kinds}
