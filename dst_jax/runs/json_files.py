"""JSON on disk that survives a kill and a power loss; a torn file is named.

JSON has no NaN and no infinity: they are written as the strings "NaN", "Infinity" and
"-Infinity", and read back as numbers. The bare NaN of earlier files is read, too.
"""

import errno
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

__all__ = [
    "Unreadable",
    "append_line",
    "naming",
    "read_lines",
    "read_object",
    "sync",
    "to_json",
    "write_bytes",
    "write_text",
]

_NUMBERS = {text: float(text) for text in ("NaN", "Infinity", "-Infinity")}


class Unreadable(ValueError):
    """A file of a run is not what it should be; the message names it.

    >>> raise Unreadable("runs/a/config.json is not JSON: it is empty")
    Traceback (most recent call last):
    dst_jax.runs.json_files.Unreadable: runs/a/config.json is not JSON: it is empty
    """


def to_json(record: Any, *, indent: int | None = None) -> str:
    """A record as JSON that any reader accepts.

    Args:
      record: dictionaries, lists, texts and numbers.
      indent: spaces per level; None for one line.

    >>> to_json({"loss": float("nan"), "top1": 0.5})
    '{"loss": "NaN", "top1": 0.5}'
    """
    try:
        return json.dumps(record, indent=indent, allow_nan=False)
    except ValueError:
        plain = _mapped(record, _text)
        return json.dumps(plain, indent=indent, allow_nan=False)


def read_object(path: Path) -> dict[str, Any] | None:
    """The object in a JSON file, or None without the file.

    Args:
      path: the file.

    Raises:
      Unreadable: it is empty, torn, or holds something else.

    >>> read_object(Path("nowhere.json"))
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return _parsed(content, str(path))


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The records of a file of JSON lines; a last line cut by a kill is left out.

    Args:
      path: the file; without it there are no records.

    Raises:
      Unreadable: another line is no object of JSON.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "metrics.jsonl"
    ...     _ = path.write_text('{"step": 1}\\n{"st')
    ...     read_lines(path)
    [{'step': 1}]
    """
    try:
        lines = path.read_bytes().splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return []
    records = []
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            records.append(_parsed(line, f"{path}, line {number},"))
        except Unreadable:
            if number < len(lines) or _is_json(line):
                raise
    return records


def append_line(path: Path, record: Mapping[str, Any]) -> None:
    """Appends a record to a file of JSON lines, in place of a line cut by a kill.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder) / "metrics.jsonl"
    ...     _ = path.write_text('{"step": 1}\\n{"st')
    ...     append_line(path, {"step": 2})
    ...     path.read_text()
    '{"step": 1}\\n{"step": 2}\\n'
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with naming(path), path.open("ab+") as file:
        file.write(_ending(file) + to_json(record).encode() + b"\n")


def write_text(path: Path, text: str) -> None:
    """Replaces a file as a whole: the old or the new one is there, whatever happens.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_text(Path(folder) / "stages" / "dense.json", "{}")
    ...     [path.name for path in (Path(folder) / "stages").iterdir()]
    ['dense.json']
    """
    write_bytes(path, text.encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Replaces a file as `write_text` does, by bytes.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     write_bytes(Path(folder) / "masks.npz", b"PK")
    ...     (Path(folder) / "masks.npz").read_bytes()
    b'PK'
    """
    made = not path.parent.is_dir()
    path.parent.mkdir(parents=True, exist_ok=True)
    scratch = path.with_name(path.name + ".tmp")
    with naming(path):
        try:
            with scratch.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            scratch.replace(path)
        except OSError:
            scratch.unlink(missing_ok=True)
            raise
        sync(path.parent)
        if made:
            sync(path.parent.parent)


def sync(path: Path) -> None:
    """Returns once a file, or the entries of a directory, are on the disk.

    Args:
      path: the file or directory; nothing happens without it.

    >>> sync(Path("nowhere.jsonl"))
    """
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return
    try:
        os.fsync(descriptor)
    except OSError as error:
        # Some file systems do not sync directories.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):
            raise
    finally:
        os.close(descriptor)


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Makes an error of a write name the file, which a full disk's does not.

    Args:
      path: the file.

    >>> with naming(Path("runs/a/metrics.jsonl")):
    ...     raise OSError(28, "No space left on device")
    Traceback (most recent call last):
    OSError: [Errno 28] No space left on device: 'runs/a/metrics.jsonl'
    """
    try:
        yield
    except OSError as error:
        if error.filename is not None:
            raise
        raise OSError(error.errno, error.strerror, str(path)) from None


def _parsed(content: bytes, name: str) -> dict[str, Any]:
    try:
        found = json.loads(content)
    except ValueError as error:
        why = error if content.strip() else "it is empty"
        raise Unreadable(f"{name} is not JSON: {why}") from None
    except RecursionError:
        raise Unreadable(f"{name} is not JSON of a run: it is nested deeply") from None
    if not isinstance(found, dict):
        kind = type(found).__name__
        raise Unreadable(f"{name} must hold an object of JSON, it holds a {kind}")
    if any(f'"{text}"'.encode() in content for text in _NUMBERS):
        return _mapped(found, _number)
    return found


def _is_json(line: bytes) -> bool:
    try:
        json.loads(line)
    except ValueError:
        return False
    return True


def _ending(file: Any) -> bytes:
    """What ends the line before; a line that was cut is removed."""
    size = file.seek(0, os.SEEK_END)
    if size == 0:
        return b""
    file.seek(size - 1)
    if file.read(1) == b"\n":
        return b""
    file.seek(0)
    content = file.read()
    start = content.rfind(b"\n") + 1
    if _is_json(content[start:]):
        return b"\n"
    file.truncate(start)
    return b""


def _mapped(value: Any, change: Callable[[Any], Any]) -> Any:
    if isinstance(value, Mapping):
        return {key: _mapped(x, change) for key, x in value.items()}
    if isinstance(value, list | tuple):
        return [_mapped(x, change) for x in value]
    return change(value)


def _text(value: Any) -> Any:
    if not isinstance(value, float) or math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def _number(value: Any) -> Any:
    return _NUMBERS.get(value, value) if isinstance(value, str) else value
