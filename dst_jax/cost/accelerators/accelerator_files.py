"""An accelerator in a YAML file: whose equations it has, and its own numbers.

preset: scnn              a name that `create` knows, or module:attribute
numbers:                  those that are not the preset's
  pe_rows: 4
  clock: 8e8
  energy: horowitz45      or a table: {mac: 1.1, buffer: 0.1, dram: 20, name: ...}
sources:                  optional: where a number comes from
  pe_rows: our chip, table 2
"""

from pathlib import Path
from typing import Any, NamedTuple

from dst_jax import checks, runs

__all__ = ["AcceleratorFile", "file_of", "read_accelerator"]

KEYS = ("preset", "numbers", "sources")


class AcceleratorFile(NamedTuple):
    """What a file says; `create` checks the names and numbers.

    Attributes:
      preset: name of the accelerator that it changes.
      numbers: numbers by field.
      sources: sources of some of them.
    """

    preset: str
    numbers: dict[str, Any]
    sources: dict[str, str]


def file_of(name: str) -> Path | None:
    """The file that the name of an accelerator is the path of; None for other names.

    >>> file_of("chips/ours.yaml").stem, file_of("scnn")
    ('ours', None)
    """
    path = Path(name)
    return path if path.suffix in (".yaml", ".yml") else None


def read_accelerator(path: Path) -> AcceleratorFile:
    """The content of a file.

    Args:
      path: the file.

    Raises:
      ValueError: the file cannot be read, is no YAML, lacks `preset`, or has an entry
        that it may not have; the message names the file and the entry.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "ours.yaml"
    ...     _ = path.write_text("preset: scnn\\nnumbers: {pe_rows: 4}")
    ...     read_accelerator(path)
    AcceleratorFile(preset='scnn', numbers={'pe_rows': 4}, sources={})
    """
    try:
        found = runs.read_yaml(path)
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from None
    for key in found:
        checks.one_of(f"{path}: an entry", key, KEYS)
    preset = found.get("preset")
    if not isinstance(preset, str):
        raise ValueError(
            f"{path}: preset must be the name of the accelerator whose equations it"
            f" has, got {preset!r}"
        )
    numbers, sources = (_mapping(path, key, found) for key in ("numbers", "sources"))
    for key, source in sources.items():
        checks.one_of(f"{path}: a key of sources", key, list(numbers))
        if not isinstance(source, str):
            raise ValueError(f"{path}: sources.{key} must be a text, got {source!r}")
    return AcceleratorFile(preset, numbers, sources)


def _mapping(path: Path, key: str, found: dict[Any, Any]) -> dict[str, Any]:
    value = found.get(key) or {}
    if not isinstance(value, dict):
        raise ValueError(f"{path}: {key} must be names and values, got {value!r}")
    return value
