"""Module paths from name stacks, and unique keys from paths."""

import collections
import re
from collections.abc import Iterator, Sequence
from typing import Any

__all__ = ["Path", "keys", "path_of"]

Path = tuple[str, ...]

# What JAX writes around the names of a function that it transformed.
_WRAPPER = re.compile(
    r"\b(?:jvp|transpose|vmap|pmap|jit|pjit|remat|checkpoint|rematted_computation"
    r"|custom_jvp|custom_vjp|shard_map)\(([^()]*)\)"
)
_INSERTED = {"checkpoint", "remat", "rematted_computation"}


def path_of(name_stack: Any) -> Path:
    """The module path in an equation's name stack.

    Transformations, the formulas that einsum writes and a module's calls of its own
    methods are left out.

    >>> path_of("transpose(jvp(ResNet))/layer1/0/vmap()/conv1")
    ('ResNet', 'layer1', '0', 'conv1')
    >>> path_of("Attention/Attention.attend/...qhd,...khd->...hqk")
    ('Attention',)
    """
    stack, found = str(name_stack), 1
    while found:
        stack, found = _WRAPPER.subn(r"\1", stack)
    path: list[str] = []
    for name in stack.split("/"):
        if not name or name in _INSERTED or "->" in name:
            continue
        if not path or _module(name) != _module(path[-1]):
            path.append(name)
    return tuple(path)


def keys(
    operations: Sequence[tuple[Path, str]], owners: Sequence[Path] | None = None
) -> list[str]:
    """A unique key for every operation, in order.

    The first component is dropped if all paths share it and none ends there: Flax
    begins every path with the class of the outermost module.

    Args:
      operations: path and primitive of each.
      owners: path of the module whose weights each multiplies, or (): it stands for a
        path that the program does not hold.

    >>> keys([(("Net", "conv1"), "conv_general_dilated"),
    ...       (("Net", "attn"), "dot_general"), (("Net", "attn"), "dot_general")])
    ['conv1', 'attn/dot_general', 'attn/dot_general_1']
    >>> keys([((), "dot_general"), (("eqx.nn.Linear",), "dot_general")],
    ...      [("layers", "0"), ("layers", "1")])
    ['layers/0', 'layers/1']
    """
    owned = [
        owner if all(name.startswith("eqx.") for name in path) else ()
        for (path, _), owner in zip(
            operations, owners or [()] * len(operations), strict=True
        )
    ]
    named = [
        path for (path, _), owner in zip(operations, owned, strict=True) if not owner
    ]
    shared = len({path[:1] for path in named}) == 1 and all(len(p) > 1 for p in named)
    paths = [
        owner or path[shared:]
        for (path, _), owner in zip(operations, owned, strict=True)
    ]
    shared = collections.Counter(paths)
    taken = {"/".join(path) for path in paths if path and shared[path] == 1}
    named = []
    for path, (_, primitive) in zip(paths, operations, strict=True):
        if path and shared[path] == 1:
            named.append("/".join(path))
            continue
        key = next(k for k in _numbered("/".join((*path, primitive))) if k not in taken)
        taken.add(key)
        named.append(key)
    return named


def _numbered(key: str) -> Iterator[str]:
    yield key
    i = 1
    while True:
        yield f"{key}_{i}"
        i += 1


def _module(name: str) -> str:
    """Linen writes `module.method` where a module calls a method of its own."""
    return re.sub(r"\.[^\W\d]\w*$", "", name)
