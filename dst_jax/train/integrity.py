"""Whether a checkpoint's files are all there, whole: files, not arrays."""

import json
from pathlib import Path

import jax
from jax.experimental import multihost_utils

__all__ = [
    "find_fault",
    "numbered",
    "set_aside",
    "set_aside_damaged",
    "synchronise",
    "write_manifest",
]

_MANIFEST = "manifest.json"
_COMMITTED = "commit_success.txt"
_GROWS_ON_COMMIT = "_CHECKPOINT_METADATA"


def write_manifest(checkpoint: Path) -> None:
    """Lists the files of a checkpoint, with their sizes in bytes.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     _ = (Path(folder) / "array").write_bytes(b"1234")
    ...     write_manifest(Path(folder))
    ...     json.loads((Path(folder) / "manifest.json").read_text())
    {'array': 4}
    """
    files = {
        str(path.relative_to(checkpoint)): path.stat().st_size
        for path in sorted(checkpoint.rglob("*"))
        if path.is_file()
    }
    (checkpoint / _MANIFEST).write_text(json.dumps(files, indent=1))


def find_fault(checkpoint: Path) -> str | None:
    """What is wrong with the files of a checkpoint, or None if all are there whole.

    >>> find_fault(Path("/nowhere"))
    'has no readable manifest.json'
    """
    try:
        manifest = json.loads((checkpoint / _MANIFEST).read_text())
    except (OSError, json.JSONDecodeError):
        return f"has no readable {_MANIFEST}"
    for name, size in {**manifest, _COMMITTED: None}.items():
        path = checkpoint / name
        if not path.is_file():
            return f"has lost its file {name}"
        if not _is_whole(path, size):
            return f"has a damaged file {name}"
    return None


def _is_whole(path: Path, size: int | None) -> bool:
    found = path.stat().st_size
    if path.name == _GROWS_ON_COMMIT:  # Orbax adds the time of the commit
        try:
            return bool(json.loads(path.read_text()))
        except (UnicodeDecodeError, json.JSONDecodeError):
            return False
    return found > 0 if size is None else found == size


def set_aside_damaged(directory: Path) -> list[str]:
    """Renames damaged checkpoints and says what was wrong with them (process 0).

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     (Path(folder) / "8").mkdir()
    ...     problems = set_aside_damaged(Path(folder))
    ...     print(problems[0].split("/")[-1], [p.name for p in Path(folder).iterdir()])
    8 has no readable manifest.json ['8.damaged']
    """
    problems = []
    if jax.process_index() == 0:
        for checkpoint in numbered(directory):
            fault = find_fault(checkpoint)
            if fault is not None:
                problems.append(f"checkpoint {checkpoint} {fault}")
                set_aside(checkpoint)
    synchronise(f"looked through {directory}")
    return problems


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


def numbered(directory: Path) -> list[Path]:
    """The checkpoints in a stage's directory, newest first.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     for name in ("8", "16", "24.damaged"):
    ...         (Path(folder) / name).mkdir()
    ...     [path.name for path in numbered(Path(folder))]
    ['16', '8']
    """
    found = [path for path in directory.glob("*") if path.name.isdigit()]
    return sorted(found, key=lambda path: int(path.name), reverse=True)


def synchronise(what: str) -> None:
    """Waits until every process has come here.

    Args:
      what: name of the place, the same in every process.

    >>> synchronise("a single process does not wait")
    """
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(what)
