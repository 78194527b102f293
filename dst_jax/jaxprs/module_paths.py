"""Module paths from name stacks, and unique keys from paths."""

import collections
import itertools
import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

__all__ = ["Path", "keys", "modules_of", "path_of"]

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
    methods are left out, and the class of the outermost module stays once. Any other
    name that follows itself stays: it may be the module `0` of the module `0`, see
    `keys`.

    >>> path_of("transpose(jvp(ResNet))/layer1/0/vmap()/conv1")
    ('ResNet', 'layer1', '0', 'conv1')
    >>> path_of("Attention/Attention.attend/...qhd,...khd->...hqk")
    ('Attention',)
    >>> path_of("Net/features/0/0")
    ('Net', 'features', '0', '0')
    """
    stack, found = str(name_stack), 1
    while found:
        stack, found = _WRAPPER.subn(r"\1", stack)
    path: list[str] = []
    for name in stack.split("/"):
        if not name or name in _INSERTED or "->" in name:
            continue
        if not path or not _is_same_module(name, path):
            path.append(name)
    return tuple(path)


def modules_of(paths: Iterable[Path | None]) -> frozenset[Path]:
    """The paths of modules and of those around them, from wherever they begin.

    >>> modules = modules_of([("params", "block", "conv"), None])
    >>> ("block", "conv") in modules, ("block", "block") in modules
    (True, False)
    """
    return frozenset(
        path[start:end]
        for path in set(paths)
        if path
        for start, end in itertools.combinations(range(len(path) + 1), 2)
    )


def keys(
    operations: Sequence[tuple[Path, str]],
    owners: Sequence[Path] | None = None,
    *,
    modules: Collection[Path] = frozenset(),
) -> list[str]:
    """A unique key for every operation, in order.

    The first component is dropped if all paths share it and none ends there: Flax
    begins every path with the class of the outermost module.

    Flax writes the name of a module twice where its `__call__` calls that of its base
    class, and `module.method` where another module calls a method of it. Such names
    are mended where only that gives the path of a module that holds weights.

    Args:
      operations: path and primitive of each.
      owners: path of the module whose weights each multiplies, or (): it stands for a
        path that the program does not hold.
      modules: paths of modules that hold weights, see `modules_of`.

    >>> keys([(("Net", "conv1"), "conv_general_dilated"),
    ...       (("Net", "attn"), "dot_general"), (("Net", "attn"), "dot_general")])
    ['conv1', 'attn/dot_general', 'attn/dot_general_1']
    >>> keys([((), "dot_general"), (("eqx.nn.Linear",), "dot_general")],
    ...      [("layers", "0"), ("layers", "1")])
    ['layers/0', 'layers/1']
    >>> twice = [(("Net", "0", "0"), "dot_general"), (("Net", "fc"), "dot_general")]
    >>> keys(twice, modules={("0", "0"), ("fc",)})
    ['0/0', 'fc']
    >>> keys(twice, modules={("0",), ("fc",)})
    ['0', 'fc']
    """
    written = [_mended(path, modules) for path, _ in operations]
    owned = [
        owner if all(name.startswith("eqx.") for name in path) else ()
        for path, owner in zip(written, owners or [()] * len(written), strict=True)
    ]
    named = [path for path, owner in zip(written, owned, strict=True) if not owner]
    shared = len({path[:1] for path in named}) == 1 and all(len(p) > 1 for p in named)
    paths = [owner or path[shared:] for path, owner in zip(written, owned, strict=True)]
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


def _mended(path: Path, modules: Collection[Path]) -> Path:
    """The path with its longest part that can be mended in the place of that part."""
    for end in range(len(path), 0, -1):
        for candidate in _spellings(path[:end]):
            if candidate in modules or candidate[1:] in modules:
                return (*candidate, *path[end:])
    return path


def _spellings(path: Path) -> Iterator[Path]:
    """The paths that may be meant, the one that stands there first."""
    choices: list[list[Path]] = []
    for i, name in enumerate(path):
        bare = _module(name)
        choice = [(name,)] if bare == name else [(name,), (bare,)]
        choices.append([*choice, ()] if i and name == path[i - 1] else choice)
    for parts in itertools.product(*choices):
        yield tuple(name for part in parts for name in part)


def _is_same_module(name: str, path: Sequence[str]) -> bool:
    """Whether a name certainly means the module at the end of a path."""
    if name == path[-1]:
        return len(path) == 1 and name[0].isupper()  # the class of the outermost
    return _module(name) == _module(path[-1])


def _module(name: str) -> str:
    """Linen writes `module.method` where a module calls a method of its own."""
    return re.sub(r"\.[^\W\d]\w*$", "", name)
