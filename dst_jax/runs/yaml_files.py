"""YAML that people and simulators read: strict reading, plain writing."""

import functools
import re
from collections.abc import Hashable
from pathlib import Path
from typing import Any

from dst_jax.runs.json_files import Unreadable

__all__ = ["read_yaml", "to_yaml"]

_EXPONENT = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+$")
"""Numbers such as 5e8, for which YAML 1.1 asks a point and a sign: 5.0e+8."""


def read_yaml(path: Path) -> dict[Any, Any]:
    """The mapping in a YAML file.

    Args:
      path: the file.

    Raises:
      FileNotFoundError: there is no such file.
      ValueError: it is not YAML, holds a key twice or something else than a mapping;
        the message names the file and the line.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "chip.yaml"
    ...     _ = path.write_text("preset: scnn\\nnumbers: {clock: 5e8}")
    ...     read_yaml(path)
    {'preset': 'scnn', 'numbers': {'clock': 500000000.0}}
    """
    import yaml  # on demand: most who import this package read no YAML

    text = path.read_bytes()
    try:
        found = yaml.load(text, Loader=_loader())
    except (yaml.YAMLError, RecursionError, TypeError, ValueError) as error:
        said = " ".join(str(error).replace('"<byte string>", ', "").split())
        raise Unreadable(f"{path} is not YAML that can be read: {said}") from None
    if not isinstance(found, dict):
        kind = "nothing" if found is None else f"a {type(found).__name__}"
        raise Unreadable(f"{path} must hold a mapping of YAML, it holds {kind}")
    return found


def to_yaml(record: Any, *, comment: str = "") -> str:
    """A record as YAML; keys keep their order, and inner lists are on one line.

    Args:
      record: dictionaries, lists, texts and numbers.
      comment: text above it, each line after a `#`.

    >>> print(to_yaml({"shape": {"dimensions": ["C", "M"]}}, comment="fc"), end="")
    # fc
    shape:
      dimensions: [C, M]
    """
    import yaml

    lines = [f"# {line}".rstrip() for line in comment.splitlines()]
    text = yaml.safe_dump(
        record, sort_keys=False, default_flow_style=None, width=88, allow_unicode=True
    )
    return "\n".join([*lines, text])


@functools.cache
def _loader() -> Any:
    """Plain values only; a key given twice is an error, and 5e8 is a number."""
    import yaml

    class Loader(yaml.SafeLoader):
        def construct_mapping(
            self, node: yaml.MappingNode, deep: bool = False
        ) -> dict[Hashable, Any]:
            keys = [self.construct_object(key, deep=True) for key, _ in node.value]
            for i, key in enumerate(keys):
                if key in keys[:i]:
                    mark = node.value[i][0].start_mark
                    raise yaml.constructor.ConstructorError(
                        None, None, f"the key {key!r} is given twice", mark
                    )
            return super().construct_mapping(node, deep=deep)

    tag = "tag:yaml.org,2002:float"
    Loader.add_implicit_resolver(tag, _EXPONENT, list("-+.0123456789"))
    return Loader
