"""Reads a run directory, or raises an error that names the file and what it lacks."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from dst_jax.report.accelerator_records import AcceleratorRecord, accelerator_records
from dst_jax.report.channel_records import (
    forward_time,
    parameter_shapes,
    parameters,
    unit_counts,
)
from dst_jax.report.picture_records import pictures
from dst_jax.report.run_results import Drift, Products, RunResults, StageResults, Zeros
from dst_jax.report.storage_records import stored_tensors
from dst_jax.report.task_records import TaskRecord, task_record
from dst_jax.report.training_ledger import training_costs
from dst_jax.report.training_phases import phases
from dst_jax.runs import (
    GIVEN,
    UNTRAINED,
    Run,
    Unreadable,
    read_ledger,
    read_storage,
)

__all__ = ["load"]

T = TypeVar("T")

_TITLES = {
    "pretrain": "dense baseline",
    "control": "dense control",
    "initial": GIVEN,
    "sparsify_jointly": "dual sparse",
}
"""Titles of stages that record none of their own."""


def load(run_dir: str | os.PathLike[str]) -> RunResults:
    """The results of a run, finished or not.

    Args:
      run_dir: a run directory, laid out as `dst_jax.runs` says.

    Returns:
      The finished stages in order of execution. `unfinished` names what is still
      missing, such as `stages/control.json` or `summary.json`.

    Raises:
      FileNotFoundError: there is no such directory, no config.json in it, or no
        finished stage.
      ValueError: a file of the run cannot be read as what it should be.

    >>> load("runs/nowhere")
    Traceback (most recent call last):
    FileNotFoundError: .../runs/nowhere is not a directory
    """
    run = Run(run_dir, writer=False)
    if not run.path.is_dir():
        raise FileNotFoundError(f"{run.path} is not a directory")
    plan = _read(run.path / "config.json", run.read_config, _plan)
    if plan is None:
        raise FileNotFoundError(f"{run.path} is not a run: it has no config.json")
    config, names, task = plan
    stages, missing = _stages(run, names, task, given=_has_given_weights(config))
    if not stages:
        planned = ", ".join(missing) or "no stage at all"
        raise FileNotFoundError(
            f"{run.path} has no finished stage yet; config.json plans {planned}"
        )
    summary = _read(run.path / "summary.json", run.read_summary, dict)
    return RunResults(
        path=run.path,
        config=config,
        stages=stages,
        unfinished=(*missing, *(() if summary else ("summary.json",))),
        phases=_read(run.path / "metrics.jsonl", run.read_metrics, phases) or (),
        masks=_read(run.path / "masks.jsonl", run.read_masks, tuple) or (),
        training=_read(
            run.path / "ledger.jsonl", partial(read_ledger, run), training_costs
        )
        or {},
        params_sha256=summary.get("params_sha256") if summary else None,
        task=task,
    )


def _plan(config: Any) -> tuple[dict[str, Any], list[str], TaskRecord]:
    """The whole of config.json, its stages in order, its task."""
    return dict(config), list(config["stages"]), task_record(config)


def _stages(
    run: Run, names: list[str], task: TaskRecord, *, given: bool
) -> tuple[tuple[StageResults, ...], list[str]]:
    """The finished stages, and the files of those that are not."""
    stages, missing = [], []
    for i, name in enumerate(names):
        file = f"stages/{name}.json"
        accelerators = _read(
            run.path / f"accelerators/{name}.json",
            partial(run.read_accelerators, name),
            accelerator_records,
        )
        parse = partial(
            _stage,
            so_far=names[: i + 1],
            given=given,
            task=task,
            accelerators=accelerators or {},
        )
        stage = _read(run.path / file, partial(run.read_stage, name), parse)
        if stage is None:
            missing.append(file)
        else:
            shown = _read(
                run.path / f"examples/{name}.json",
                partial(run.read_examples, name),
                pictures,
            )
            stored = _read(
                run.path / f"storage/{name}.json",
                partial(read_storage, run, name),
                stored_tensors,
            )
            stages.append(replace(stage, pictures=shown, storage=stored or ()))
    return tuple(stages), missing


def _read(path: Path, read: Callable[[], Any], parse: Callable[[Any], T]) -> T | None:
    """`parse(read())`, or None for None; an error names the file."""
    try:
        record = read()
        return None if record is None else parse(record)
    except Unreadable:
        raise  # it names the file
    except KeyError as error:
        raise ValueError(f"{path} has no entry {error.args[0]!r}") from None
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is malformed: {error}") from None


def _has_given_weights(config: Mapping[str, Any]) -> bool:
    """Whether the settings name weights to start from."""
    settings = config.get("config")
    init = settings.get("init") if isinstance(settings, Mapping) else None
    return isinstance(init, Mapping) and any(init.values())


def _title(record: Mapping[str, Any], so_far: Sequence[str], *, given: bool) -> str:
    """The stage's recorded title, or what it leaves behind in the words of Table 3.

    Older runs call a start of no epochs a dense baseline.
    """
    is_trained = record["name"] != "pretrain" or record["epochs"]
    if not is_trained and record.get("title") in (None, _TITLES["pretrain"]):
        return GIVEN if given else UNTRAINED
    if record.get("title"):
        return str(record["title"])
    name = str(record["name"])
    if name not in ("sparsify_weights", "sparsify_activations"):
        return _TITLES.get(name, name)
    if {"sparsify_weights", "sparsify_activations"} <= set(so_far):
        return "dual sparse"
    return "pruned" if name == "sparsify_weights" else "activation-sparse"


def _stage(
    record: dict[str, Any],
    *,
    so_far: Sequence[str],
    given: bool,
    task: TaskRecord,
    accelerators: Mapping[str, AcceleratorRecord],
) -> StageResults:
    layers, network = record["layers"], record.get("network") or {}
    sparsity, drop = record["activation_sparsity"], record["flops_drop"]
    return StageResults(
        name=record["name"],
        title=_title(record, so_far, given=given),
        test=_metrics(record, task),
        examples=int(record["examples"]),
        weight_sparsity=float(record["weight_sparsity"]),
        activation_element=float(sparsity["element"]),
        activation_layer_mean=float(sparsity["layer_mean"]),
        drop_dense=float(drop["dense"]),
        drop_valid=float(drop["valid"]),
        holdout=_optional(record.get("holdout"), partial(_metrics, task=task)),
        drift=_optional(record.get("drift"), _drift),
        seconds=float(record["seconds"]),
        epochs=float(record["epochs"]),
        images_per_second=_optional(record.get("images_per_second"), float),
        waiting=_optional(record.get("waiting"), float),
        activations={k: _zeros(v) for k, v in layers["activations"].items()},
        tiles={k: _zeros(v) for k, v in layers.get("tiles", {}).items()},
        weights={k: _zeros(v) for k, v in layers["weights"].items()},
        products={k: _products(v) for k, v in layers["counts"].items()},
        weight_products={
            k: _products(v) for k, v in layers.get("weight_counts", {}).items()
        },
        accelerators=accelerators,
        union_tile=int(record.get("union_tile", 0)),
        parameters=parameters(network),
        shapes=parameter_shapes(network),
        channels=unit_counts(network),
        rounds=_rounds(record.get("rounds") or {}),
        forward_time=_optional(record.get("forward_time"), forward_time),
    )


def _rounds(record: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    return {
        phase: {group: int(count) for group, count in kept.items()}
        for phase, kept in record.items()
    }


def _optional(value: Any, parse: Callable[[Any], T]) -> T | None:
    return None if value is None else parse(value)


def _metrics(record: Mapping[str, Any], task: TaskRecord) -> dict[str, float]:
    """The task's metrics; only the one that chooses checkpoints must be there."""
    names = [metric.name for metric in task.metrics]
    found = {n: float(record[n]) for n in names if record.get(n) is not None}
    return {task.best.name: float(record[task.best.name])} | found


def _drift(record: dict[str, Any]) -> Drift:
    return Drift(float(record["euclidean"]), float(record["cosine"]))


def _zeros(record: dict[str, Any]) -> Zeros:
    return Zeros(int(record["zeros"]), int(record["elements"]))


def _products(record: dict[str, Any]) -> Products:
    return Products(**{k: int(record[k]) for k in Products.__dataclass_fields__})
