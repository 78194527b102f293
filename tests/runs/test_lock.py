import errno
import fcntl
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time

import pytest

from dst_jax.runs import InUse, Run
from dst_jax.runs.lock import LOCK, hold

HOLDER = """
import sys, time
from pathlib import Path
from dst_jax.runs import hold
with hold(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def holder(tmp_path):
    """Another process that holds the directory."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-c", HOLDER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, env=environment) as process:
        assert process.stdout.readline() == b"held\n"
        yield process
        process.kill()


def _write_owner(directory, **changes):
    with hold(directory):
        owner = json.loads((directory / LOCK).read_text())
    (directory / LOCK).write_text(json.dumps(owner | changes))


def _pid_of_a_dead_process():
    with subprocess.Popen(["true"]) as process:
        process.wait()
    return process.pid


def test_another_process_is_named_and_taken_over_once_it_is_dead(holder, tmp_path):
    said = rf"in use by process {holder.pid} on {socket.gethostname()} since 20\d\d-"
    with pytest.raises(InUse, match=said), Run(tmp_path).lock():
        pass
    holder.send_signal(signal.SIGKILL)
    holder.wait()
    assert (tmp_path / LOCK).exists()
    with Run(tmp_path).lock():
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()
    assert not (tmp_path / LOCK).exists()


def test_two_objects_of_one_process_exclude_each_other(tmp_path):
    run = Run(tmp_path)
    with run.lock(), run.lock():
        with pytest.raises(InUse, match=f"process {os.getpid()} "):
            Run(tmp_path).lock().__enter__()
        Run(tmp_path, writer=False).lock().__enter__()
    with Run(tmp_path).lock():
        pass


@pytest.mark.parametrize(
    "owner",
    [
        {"pid": None},
        {"process_start": 1},  # the number was given to another process
        {"boot": "before the power loss"},
    ],
)
def test_a_lock_of_a_dead_process_is_taken_over(tmp_path, owner):
    dead = {"pid": _pid_of_a_dead_process()} if owner == {"pid": None} else owner
    _write_owner(tmp_path, **dead)
    with hold(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()


@pytest.mark.parametrize("content", ["", "[1]", "\x00\x00"])
def test_a_torn_lock_is_taken_over(tmp_path, content, monkeypatch):
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    (tmp_path / LOCK).write_text(content)
    with hold(tmp_path):
        assert json.loads((tmp_path / LOCK).read_text())["pid"] == os.getpid()


def test_another_hosts_lock_is_refused_and_says_how_to_remove_it(tmp_path):
    _write_owner(tmp_path, host="node7", pid=12)
    said = rf"process 12 on node7 since .* remove {re.escape(str(tmp_path / LOCK))}"
    with pytest.raises(InUse, match=said), hold(tmp_path):
        pass
    assert (tmp_path / LOCK).exists()


def test_a_file_system_without_locks_goes_by_the_process(tmp_path, monkeypatch):
    def none(file, operation):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", none)
    said = pytest.raises(InUse, match=f"process {os.getpid()} ")
    with hold(tmp_path), said, hold(tmp_path):
        pass
    _write_owner(tmp_path, pid=_pid_of_a_dead_process())
    with hold(tmp_path):
        pass


def test_a_directory_in_which_nothing_was_written_goes_again(tmp_path):
    with hold(tmp_path / "run"):
        pass
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("name", ["lr[0.1]", "a*", "b?"])
def test_a_path_that_orbax_cannot_read_back_is_refused_first(tmp_path, name):
    with pytest.raises(ValueError, match="choose a run directory"):
        Run(tmp_path / name).lock().__enter__()
    assert not (tmp_path / name).exists()
