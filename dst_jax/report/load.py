"""A run directory -> `Results`, or an error that names the file and what it lacks."""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from dst_jax.report.accelerator_records import Machine, machines
from dst_jax.report.results import Drift, Products, Results, Scores, Stage, Zeros
from dst_jax.report.series import phases
from dst_jax.runs import Run

__all__ = ["load"]

T = TypeVar("T")


def load(run_dir: str | os.PathLike[str]) -> Results:
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
    """
    run = Run(run_dir, writer=False)
    if not run.path.is_dir():
        raise FileNotFoundError(f"{run.path} is not a directory")
    config = _read(run.path / "config.json", run.read_config, dict)
    if config is None:
        raise FileNotFoundError(f"{run.path} is not a run: it has no config.json")
    names = _read(run.path / "config.json", lambda: list(config["stages"]), list)
    stages, missing = _stages(run, names or [])
    if not stages:
        planned = ", ".join(missing) or "no stage at all"
        raise FileNotFoundError(
            f"{run.path} has no finished stage yet; config.json plans {planned}"
        )
    summary = _read(run.path / "summary.json", run.read_summary, dict)
    return Results(
        path=run.path,
        config=config,
        stages=stages,
        unfinished=(*missing, *(() if summary else ("summary.json",))),
        phases=_read(run.path / "metrics.jsonl", run.read_metrics, phases) or (),
        masks=_read(run.path / "masks.jsonl", run.read_masks, tuple) or (),
        params_sha256=summary.get("params_sha256") if summary else None,
    )


def _stages(run: Run, names: list[str]) -> tuple[tuple[Stage, ...], list[str]]:
    """The finished stages, and the files of those that are not."""
    stages, missing = [], []
    for i, name in enumerate(names):
        file = f"stages/{name}.json"
        estimates = _read(
            run.path / f"accelerators/{name}.json",
            partial(run.read_accelerators, name),
            machines,
        )
        title = _title(name, names[: i + 1])
        parse = partial(_stage, title=title, estimates=estimates or {})
        stage = _read(run.path / file, partial(run.read_stage, name), parse)
        if stage is None:
            missing.append(file)
        else:
            stages.append(stage)
    return tuple(stages), missing


def _read(path: Path, read: Callable[[], Any], parse: Callable[[Any], T]) -> T | None:
    """`parse(read())`, or None for None; whatever goes wrong names the file."""
    try:
        record = read()
        return None if record is None else parse(record)
    except json.JSONDecodeError as error:
        raise ValueError(f"{path} is not JSON: {error}") from None
    except KeyError as error:
        raise ValueError(f"{path} has no entry {error.args[0]!r}") from None
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is malformed: {error}") from None


def _title(name: str, so_far: Sequence[str]) -> str:
    """What a stage leaves behind, in the words of the paper's Table 3."""
    known = {"pretrain": "dense baseline", "control": "dense control"}
    known |= {"initial": "given weights", "sparsify_jointly": "dual sparse"}
    if name not in ("sparsify_weights", "sparsify_activations"):
        return known.get(name, name)
    if {"sparsify_weights", "sparsify_activations"} <= set(so_far):
        return "dual sparse"
    return "pruned" if name == "sparsify_weights" else "activation-sparse"


def _stage(
    record: dict[str, Any], *, title: str, estimates: Mapping[str, Machine]
) -> Stage:
    layers = record["layers"]
    sparsity, drop = record["activation_sparsity"], record["flops_drop"]
    return Stage(
        name=record["name"],
        title=title,
        test=_scores(record),
        examples=int(record["examples"]),
        weight_sparsity=float(record["weight_sparsity"]),
        activation_element=float(sparsity["element"]),
        activation_layer_mean=float(sparsity["layer_mean"]),
        drop_dense=float(drop["dense"]),
        drop_valid=float(drop["valid"]),
        holdout=_optional(record.get("holdout"), _scores),
        drift=_optional(record.get("drift"), _drift),
        seconds=float(record["seconds"]),
        epochs=float(record["epochs"]),
        images_per_second=_optional(record.get("images_per_second"), float),
        waiting=_optional(record.get("waiting"), float),
        activations={k: _zeros(v) for k, v in layers["activations"].items()},
        weights={k: _zeros(v) for k, v in layers["weights"].items()},
        products={k: _products(v) for k, v in layers["counts"].items()},
        machines=estimates,
    )


def _optional(value: Any, parse: Callable[[Any], T]) -> T | None:
    return None if value is None else parse(value)


def _scores(record: dict[str, Any]) -> Scores:
    return Scores(
        top1=float(record["top1"]),
        top5=_optional(record.get("top5"), float),
        loss=float(record["loss"]),
    )


def _drift(record: dict[str, Any]) -> Drift:
    return Drift(float(record["euclidean"]), float(record["cosine"]))


def _zeros(record: dict[str, Any]) -> Zeros:
    return Zeros(int(record["zeros"]), int(record["elements"]))


def _products(record: dict[str, Any]) -> Products:
    return Products(**{k: int(record[k]) for k in Products.__dataclass_fields__})
