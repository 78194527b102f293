"""Whether a checkpoint's files are all there, whole: files, not arrays."""

import json
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from dst_jax.train.manifest import (
    AT_COMMIT,
    MANIFEST,
    ListedFile,
    digests,
    has_digests,
    read_manifest,
    seal,
)

__all__ = [
    "Damage",
    "discard",
    "find_fault",
    "numbered",
    "set_aside",
    "set_aside_damaged",
]

_REQUIRED = (
    *AT_COMMIT,
    *("weights/manifest.ocdbt", "weights/_METADATA"),
    *("training/manifest.ocdbt", "training/_METADATA"),
)
"""What every checkpoint has and a restore needs."""
_SMALL = 1 << 16
"""Bytes up to which a file of a checkpoint that is not about to be read is digested."""
_STEP = re.compile(r"0|[1-9][0-9]*")
_DISCARDED = ".deleted"


class Damage(NamedTuple):
    """What was found in a stage's checkpoints before any of them is read.

    Attributes:
      problems: a line for every checkpoint that was set aside.
      notes: a line for what is worth saying of those that are used.
    """

    problems: list[str]
    notes: list[str]


def find_fault(checkpoint: Path, *, thorough: bool = True) -> str | None:
    """What is wrong with the files of a checkpoint, or None if all are there whole.

    Args:
      checkpoint: directory of the checkpoint.
      thorough: whether the digests of large files are compared, too.

    Raises:
      OSError: a file cannot be read, which says nothing of its contents.

    >>> find_fault(Path("/nowhere"))
    'has no readable manifest.json'
    """
    files = read_manifest(checkpoint)
    if files is None:
        return f"has no readable {MANIFEST}"
    for name in (*files, *_REQUIRED):
        if not (checkpoint / name).is_file():
            return f"has lost its file {name}"
    lacking = [name for name in _REQUIRED if name not in (*files, *AT_COMMIT)]
    if lacking:
        return f"was written without its file {lacking[0]}"
    for name in AT_COMMIT:
        if not _was_committed(checkpoint / name):
            return f"has a damaged file {name}"
    for name in _damaged(checkpoint, files, thorough):
        return f"has a damaged file {name}"
    return None


def set_aside_damaged(directory: Path) -> Damage:
    """Renames the damaged checkpoints in a directory.

    The newest that is left has all its digests right. Of those before it the large
    files are only measured: they are looked at again before they are used.

    Raises:
      OSError: a file cannot be read; nothing of its checkpoint is changed.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     (Path(folder) / "8").mkdir()
    ...     problems, _ = set_aside_damaged(Path(folder))
    ...     print(problems[0].split("/")[-1], [p.name for p in Path(folder).iterdir()])
    8 has no readable manifest.json ['8.damaged']
    """
    for leftover in directory.glob(f"*{_DISCARDED}"):
        shutil.rmtree(leftover, ignore_errors=True)
    found = Damage([], [])
    newest = True
    for checkpoint in numbered(directory):
        fault = find_fault(checkpoint, thorough=newest)
        if fault is not None:
            found.problems.append(f"checkpoint {checkpoint} {fault}")
            set_aside(checkpoint)
            continue
        if newest and not has_digests(checkpoint):
            found.notes.append(
                f"checkpoint {checkpoint} is of an earlier version, without digests:"
                " only the sizes of its files could be compared"
            )
        newest = False
        seal(checkpoint)
    return found


def set_aside(checkpoint: Path) -> None:
    """Renames a checkpoint, so that training can write that step again.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     (Path(folder) / "8").mkdir()
    ...     set_aside(Path(folder) / "8")
    ...     [path.name for path in Path(folder).iterdir()]
    ['8.damaged']
    """
    target = checkpoint.with_name(f"{checkpoint.name}.damaged")
    number = 1
    while target.exists():
        number += 1
        target = checkpoint.with_name(f"{checkpoint.name}.damaged-{number}")
    checkpoint.rename(target)


def discard(checkpoint: Path) -> None:
    """Deletes a checkpoint; a kill in between leaves nothing that looks like one.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     (Path(folder) / "8").mkdir()
    ...     discard(Path(folder) / "8")
    ...     list(Path(folder).iterdir())
    []
    """
    target = checkpoint.with_name(f"{checkpoint.name}{_DISCARDED}")
    checkpoint.rename(target)
    shutil.rmtree(target)


def numbered(directory: Path) -> list[Path]:
    """The checkpoints in a stage's directory, newest first.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("8", "16", "24.damaged", "³"):
    ...         (Path(folder) / name).mkdir()
    ...     [path.name for path in numbered(Path(folder))]
    ['16', '8']
    """
    with suppress(FileNotFoundError):
        every = list(directory.iterdir())
        found = [p for p in every if _STEP.fullmatch(p.name) and p.is_dir()]
        return sorted(found, key=lambda path: int(path.name), reverse=True)
    return []


def _damaged(
    checkpoint: Path, files: Mapping[str, ListedFile], thorough: bool
) -> Iterator[str]:
    """The files that are not as they are listed."""
    compared = []
    for name, file in files.items():
        if file.sha256 is None and name == AT_COMMIT[0]:
            continue  # it has grown since its size was taken
        if (checkpoint / name).stat().st_size != file.bytes:
            yield name
        elif file.sha256 is not None and (thorough or file.bytes <= _SMALL):
            compared.append(name)
    for name, digest in zip(compared, digests(checkpoint, compared), strict=True):
        if digest != files[name].sha256:
            yield name


def _was_committed(path: Path) -> bool:
    """Whether a file says what it is there to say: for one that has no digest yet."""
    content = path.read_bytes()
    if path.name != AT_COMMIT[0]:
        return bool(content)
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and bool(found)
