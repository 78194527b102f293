"""Options from the names in config.json, for runs that no command line started."""

import importlib.util
import inspect
from collections.abc import Mapping
from typing import Any

from experiments.options import Config, DataOptions, ModelOptions, RunOptions
from experiments.options.task import TaskOptions

__all__ = ["options"]

_NONE = object()


def options(record: Mapping[str, Any]) -> Config:
    """Options that make the model, the data and the task that a run records.

    The data set is not opened: what needs no images needs no data.

    Args:
      record: config.json of the run.

    Raises:
      ValueError: the model or the task have no name that makes them.
      KeyError: the record lacks an entry, as those of earlier versions do.
    """
    return Config(
        data=_data(record["data"], record["feeding"]),
        model=_model(record["model"], record["feeding"]["dtype"]),
        task=_task(record["task"]),
        run=RunOptions(seed=record["seed"]),
    )


def _data(found: Mapping[str, Any], feeding: Mapping[str, Any]) -> DataOptions:
    """The data set by the name that it was loaded by; nothing is read."""
    from dst_jax.data import recipes

    examples = found["examples"]
    held = examples.get("holdout", 0)
    height, width, channels = found["image_shape"]
    name = found.get("loaded_as", found["name"])
    kind, _, rest = name.partition(":")
    return DataOptions(
        name=name,
        image_size=height if height == width else None,
        # Only of one's own images can there be other channels.
        channels=channels if rest and kind in recipes.KINDS else None,
        # A hold-out that is a split of its own is no share of another one.
        holdout=None if "holdout" in found else held / (held + examples["train"]),
        mean=tuple(found["mean"]),
        std=tuple(found["std"]),
        batch_size=feeding["batch_size"],
        eval_batch_size=feeding["eval_batch_size"],
    )


def _model(found: Mapping[str, Any], dtype: str) -> ModelOptions:
    """The registered network that is recorded in the same words, or the one named."""
    from dst_jax import models

    reason = ""
    for name in (*models.names(), found["name"]):
        try:
            texts = _options(name, found)
            made = ModelOptions(name=name, options=texts, dtype=_dtype(dtype))
            if _same(made, found):
                return made
            reason = "they make another one"
        except (ImportError, TypeError, ValueError) as error:
            reason = str(error)
    raise ValueError(
        f"the model {found['name']} of the run cannot be made from its name and its"
        f" options {found['options']}: {reason}{_where(found['name'])}"
    )


def _options(name: str, found: Mapping[str, Any]) -> tuple[str, ...]:
    """The options of a network as texts, but for those that have their default."""
    from dst_jax import checks, models
    from dst_jax.train.descriptions import plain

    taken = set(models.options(name)) - {"dtype"}
    usual: dict[str, Any] = {}
    if name not in models.names():
        parameters = inspect.signature(checks.resolve(name)).parameters
        usual = {k: plain(x.default) for k, x in parameters.items()}
    texts = []
    for option, value in found["options"].items():
        if option not in taken or usual.get(option, _NONE) == value:
            continue
        if usual and option in found.get("opaque", ()):
            raise ValueError(
                f"the option {option} has a value that is no number or text"
            )
        texts.append(f"{option}={_text(value)}")
    return tuple(texts)


def _where(name: str) -> str:
    """What to do about a network that is not found."""
    module = name.partition(":")[0]
    if module == "__main__":
        return "; a class of a notebook must be in a file to be found again"
    if importlib.util.find_spec(module.partition(".")[0]) is None:
        return f"; start the command where {module} can be imported from"
    return ""


def _same(made: ModelOptions, found: Mapping[str, Any]) -> bool:
    from dst_jax.models.linen import as_model
    from dst_jax.train import descriptions

    classes = found["options"].get("num_classes", 2)
    again = descriptions.model(as_model(made.create(num_classes=classes)))
    options = [{**x["options"], "dtype": None} for x in (again, found)]
    return again["name"] == found["name"] and options[0] == options[1]


def _task(found: Mapping[str, Any]) -> TaskOptions:
    from dst_jax.train import tasks

    name, given = found["name"], found.get("options", {})
    if name not in tasks.names():
        name = found.get("made_by", name)
        try:
            tasks.get(name, **given)
        except (ImportError, TypeError, ValueError) as error:
            raise ValueError(
                f"the task {found['name']!r} of the run cannot be made from its name"
                f" and its options: {error}"
            ) from None
    texts = tuple(f"{option}={_text(value)}" for option, value in given.items())
    return TaskOptions(name=name, options=texts)


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
