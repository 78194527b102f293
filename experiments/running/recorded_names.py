"""Options from the names in config.json, for runs that no command line started."""

from collections.abc import Mapping
from typing import Any

from experiments.options import Config, DataOptions, ModelOptions, RunOptions
from experiments.options.task import TaskOptions

__all__ = ["options"]


def options(record: Mapping[str, Any]) -> Config:
    """Options that make the model, the data and the task that a run records.

    Args:
      record: config.json of the run.

    Raises:
      ValueError: the model, the data or the task have no name that makes them.
      KeyError: the record lacks an entry, as those of earlier versions do.
    """
    return Config(
        data=_data(record["data"], record["feeding"]),
        model=_model(record["model"], record["feeding"]["dtype"]),
        task=_task(record["task"]),
        run=RunOptions(seed=record["seed"]),
    )


def _data(found: Mapping[str, Any], feeding: Mapping[str, Any]) -> DataOptions:
    examples = found["examples"]
    held = examples.get("holdout", 0)
    made = DataOptions(
        name=found["name"],
        image_size=found["image_shape"][0],
        holdout=held / (held + examples["train"]),
        standardise=any(found["mean"]),
        batch_size=feeding["batch_size"],
        eval_batch_size=feeding["eval_batch_size"],
    )
    summary = made.summary()
    for name in ("num_classes", "image_shape", "mean", "std"):
        if _listed(summary[name]) != found[name]:
            raise ValueError(
                f"the data set {found['name']!r} of the run has {name} {found[name]},"
                f" the one of that name has {_listed(summary[name])}"
            )
    return made


def _model(found: Mapping[str, Any], dtype: str) -> ModelOptions:
    """The registered network that is recorded in the same words, or the one named."""
    from dst_jax import models

    known = {k: v for k, v in found["options"].items() if k != "num_classes"}
    for name in (*models.names(), found["name"]):
        try:
            taken = set(models.options(name)) - {"dtype"}
            texts = tuple(f"{k}={_text(v)}" for k, v in known.items() if k in taken)
            made = ModelOptions(name=name, options=texts, dtype=_dtype(dtype))
            if _same(made, found):
                return made
        except (TypeError, ValueError):
            continue
    raise ValueError(
        f"the model {found['name']} of the run cannot be made from its name and its"
        f" options {found['options']}"
    )


def _same(made: ModelOptions, found: Mapping[str, Any]) -> bool:
    from dst_jax.models.linen import as_model
    from dst_jax.train import descriptions

    classes = found["options"].get("num_classes", 2)
    again = descriptions.model(as_model(made.create(num_classes=classes)))
    options = [{**x["options"], "dtype": None} for x in (again, found)]
    return again["name"] == found["name"] and options[0] == options[1]


def _task(found: Mapping[str, Any]) -> TaskOptions:
    from dst_jax.train import tasks

    if found["name"] not in tasks.names():
        raise ValueError(
            f"the task {found['name']!r} of the run cannot be made from its name; those"
            f" that can be are {tasks.names()}"
        )
    given = found.get("options", {})
    texts = tuple(f"{name}={_text(value)}" for name, value in given.items())
    return TaskOptions(name=found["name"], options=texts)


def _dtype(name: str) -> Any:
    if name not in ("float32", "bfloat16"):
        raise ValueError(f"the run computes in {name}")
    return name


def _text(value: Any) -> str:
    """A value as `--model.options` takes it."""
    if isinstance(value, list):
        return ",".join(map(_text, value)) + ","
    return (
        str(value).lower() if value is None or isinstance(value, bool) else str(value)
    )


def _listed(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value
