"""Options in config.json: written, read back, and compared with those of now."""

import dataclasses
import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, TypeVar

from experiments.options import Config
from experiments.options.annotations import free_options
from experiments.running import recorded_names

if TYPE_CHECKING:
    from dst_jax.runs import Run

__all__ = ["differences", "from_nested", "nested", "options_of", "refuse_another"]

T = TypeVar("T")


def nested(options: Any) -> dict[str, Any]:
    """The options as JSON has them.

    >>> nested(Config())["optim"]["milestones"]
    [0.5, 0.75]
    """
    return json.loads(json.dumps(dataclasses.asdict(options)))


def from_nested(record: Mapping[str, Any], kind: type[T] = Config) -> T:
    """The options that `nested` wrote; those it lacks have their defaults.

    Args:
      record: what `nested` returned.
      kind: dataclass of the options.

    Raises:
      ValueError: it holds an option that there is not.

    >>> from_nested({"data": {"name": "mnist"}}).data.name
    'mnist'
    """
    return _built(kind, record, "")


def _built(kind: Any, record: Mapping[str, Any], prefix: str) -> Any:
    fields = {field.name: field for field in dataclasses.fields(kind)}
    unknown = sorted(record.keys() - fields.keys())
    if unknown:
        raise ValueError(f"there is no option --{prefix}{unknown[0]}")
    values = {}
    for name, value in record.items():
        inner = fields[name].default_factory
        if dataclasses.is_dataclass(inner):
            values[name] = _built(inner, value, f"{prefix}{name}.")
        else:
            values[name] = tuple(value) if isinstance(value, list) else value
    return kind(**values)


def options_of(run: "Run") -> Config:
    """The options of a run, which one that was started from Python does not record.

    Of such a run they say what its model and its data are, and nothing of its stages.

    Args:
      run: the run directory.

    Raises:
      ValueError: it is no run, its options are unknown, or its model or data cannot be
        made from their names; names what.

    >>> from dst_jax.runs import Run
    >>> options_of(Run("runs/none"))
    Traceback (most recent call last):
    ValueError: ...runs/none is not a run: it has no config.json
    """
    record = run.read_config()
    path = run.path / "config.json"
    if record is None:
        raise ValueError(f"{run.path} is not a run: it has no config.json")
    try:
        if {"data", "model"} <= record["config"].keys():
            return from_nested(record["config"])
        return recorded_names.options(record)
    except KeyError as error:
        raise ValueError(f"{path} has no entry {error.args[0]!r}") from None
    except (AttributeError, TypeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None


def differences(options: Any, earlier: Mapping[str, Any]) -> list[str]:
    """The options that would make a resumed run another run than it was.

    Those that are marked `FREE` may differ. An option that did not exist yet counts as
    if its default had been given.

    Args:
      options: the options now.
      earlier: the options on disk.

    >>> differences(Config(), {"optim": {"momentum": 0.5}})
    ['--optim.momentum is 0.9, was 0.5']
    """
    from dst_jax.report.tables.run_facts import flatten

    now = flatten(nested(options))
    then = flatten(nested(type(options)())) | flatten(earlier)
    names = sorted((now.keys() | then.keys()) - free_options(options))
    return [
        f"--{name} is {now.get(name)}, was {then.get(name)}"
        for name in names
        if now.get(name) != then.get(name)
    ]


def refuse_another(options: object, run: "Run") -> bool:
    """Whether the directory holds this work already; other work in it is refused.

    Args:
      options: options of the command.
      run: the directory.

    Raises:
      ValueError: what has been configured there is another run; names the differences.

    >>> from dst_jax.runs import Run
    >>> refuse_another(Config(), Run("nowhere"))
    False
    """
    earlier = run.read_config()
    if earlier is None:
        return False
    if not isinstance(earlier.get("config"), dict):
        raise ValueError(f"{run.path / 'config.json'} has no options, 'config'")
    changed = differences(options, earlier["config"])
    if changed:
        raise ValueError(
            f"{run.path} holds other work: {'; '.join(changed)}. Give another"
            " directory, or the same options to continue"
        )
    return True
