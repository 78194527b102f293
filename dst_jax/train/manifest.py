"""The manifest of a checkpoint: its files with their sizes and SHA-256.

It is written in one way only, so that any other byte in it is seen. It is in place
before the rename that commits a checkpoint; the two files that Orbax writes with that
rename join it afterwards (`seal`). Manifests of earlier versions hold sizes alone.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from dst_jax.runs import to_json, write_text

__all__ = [
    "AT_COMMIT",
    "MANIFEST",
    "ListedFile",
    "digests",
    "has_digests",
    "read_manifest",
    "seal",
    "write_manifest",
]

MANIFEST = "manifest.json"
"""The name of the manifest."""

AT_COMMIT = ("_CHECKPOINT_METADATA", "commit_success.txt")
"""The files that Orbax writes when it commits a checkpoint."""


class ListedFile(NamedTuple):
    """What a manifest says of a file."""

    bytes: int
    sha256: str | None
    """None in the manifest of an earlier version."""


def write_manifest(checkpoint: Path) -> None:
    """Lists the files of a checkpoint that are not written with its commit.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "array").write_bytes(b"1234")
    ...     write_manifest(Path(folder))
    ...     read_manifest(Path(folder))
    {'array': ListedFile(bytes=4, sha256='03ac674216f3e15c761ee1a5e255f067953623c8...')}
    """
    names = sorted(
        path.relative_to(checkpoint).as_posix()
        for path in checkpoint.rglob("*")
        if path.is_file()
    )
    own = [name for name in names if name not in (*AT_COMMIT, MANIFEST)]
    write_text(checkpoint / MANIFEST, _text(_described(checkpoint, own)))


def seal(checkpoint: Path) -> None:
    """Adds the files that Orbax wrote with the commit to a checkpoint's manifest.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_manifest(Path(folder))
    ...     for name in AT_COMMIT:
    ...         _ = (Path(folder) / name).write_text("{}")
    ...     seal(Path(folder))
    ...     list(read_manifest(Path(folder)))
    ['_CHECKPOINT_METADATA', 'commit_success.txt']
    """
    files = read_manifest(checkpoint)
    if files is None or not _digested(files) or files.keys() >= set(AT_COMMIT):
        return
    late = _described(checkpoint, AT_COMMIT)
    write_text(checkpoint / MANIFEST, _text(files | late))


def read_manifest(checkpoint: Path) -> dict[str, ListedFile] | None:
    """The files that a manifest lists; None if it is lost, or not as it was written.

    Args:
      checkpoint: directory of the checkpoint.

    >>> read_manifest(Path("/nowhere"))
    """
    try:
        content = (checkpoint / MANIFEST).read_bytes()
        found: Any = json.loads(content)
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):
        return None
    if not isinstance(found, dict):
        return None
    if all(isinstance(size, int) for size in found.values()):
        return {name: ListedFile(size, None) for name, size in found.items()}
    try:
        files = {name: ListedFile(**file) for name, file in found["files"].items()}
        return files if _text(files).encode() == content else None
    except (AttributeError, KeyError, TypeError, ValueError):
        return None


def has_digests(checkpoint: Path) -> bool:
    """Whether a checkpoint's manifest says more than sizes.

    >>> has_digests(Path("/nowhere"))
    False
    """
    files = read_manifest(checkpoint)
    return files is not None and _digested(files)


def digests(checkpoint: Path, names: Sequence[str]) -> Iterator[str]:
    """The SHA-256 of files, in the order of their names.

    Args:
      checkpoint: directory of the checkpoint.
      names: paths of the files in it.

    Raises:
      OSError: a file cannot be read; names it.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "array").write_bytes(b"1234")
    ...     [digest[:8] for digest in digests(Path(folder), ["array"])]
    ['03ac6742']
    """
    with ThreadPoolExecutor() as threads:  # hashing leaves the interpreter free
        yield from threads.map(lambda name: _digest(checkpoint / name), names)


def _digest(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from None


def _described(checkpoint: Path, names: Sequence[str]) -> dict[str, ListedFile]:
    return {
        name: ListedFile((checkpoint / name).stat().st_size, digest)
        for name, digest in zip(names, digests(checkpoint, names), strict=True)
    }


def _digested(files: Mapping[str, ListedFile]) -> bool:
    return all(file.sha256 is not None for file in files.values())


def _text(files: Mapping[str, ListedFile]) -> str:
    """The one way in which a manifest is written."""
    listed = {name: file._asdict() for name, file in sorted(files.items())}
    own = hashlib.sha256(to_json(listed).encode()).hexdigest()
    return to_json({"version": 2, "sha256": own, "files": listed}, indent=1) + "\n"
