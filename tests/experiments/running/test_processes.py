"""How processes meet, what they say when they do not, and who may not join them."""

import signal
import socket
import subprocess
import sys

import jax
import pytest

from experiments import accelerators, background, export, thresholds
from experiments.grid.launch import main as compare
from experiments.grid.methods.options import MethodGrid
from experiments.grid.penalties.options import PenaltyGrid
from experiments.options import Config, RunOptions
from experiments.running import last_words, processes


def _python(program):
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )


@pytest.mark.slow
@pytest.mark.parametrize(
    ("process", "said"),
    [(1, "no answer from the coordinator at"), (0, "not every process reached the")],
)
def test_who_does_not_come_is_said_in_one_line(process, said):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    done = _python(
        "from experiments.running.processes import join\n"
        f"join(coordinator={address!r}, processes=2, process_id={process}, timeout=1)"
    )
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"error: {said}")
    assert address in line
    assert "raise --run.coordinator-timeout" in line


def test_without_a_cluster_the_options_are_named(monkeypatch):
    def initialize(*_, **__):
        raise ValueError("coordinator_address should be defined.")

    monkeypatch.setattr(last_words, "speak_for", lambda line: None)
    monkeypatch.setattr(jax.distributed, "initialize", initialize)
    with pytest.raises(ValueError, match=r"defined\. .* give --run\.coordinator HOST"):
        processes.join(coordinator=None, processes=None, process_id=None, timeout=60)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"multihost": False, "coordinator": "a:1"}, "needs --run.multihost"),
        ({"coordinator": "a"}, "must be HOST:PORT, got 'a'"),
        ({"coordinator": "a:70000"}, "must be HOST:PORT, got 'a:70000'"),
        ({"processes": 2, "process_id": 2}, "below --run.processes 2, got 2"),
    ],
)
def test_options_that_do_not_fit_are_refused(options, match):
    with pytest.raises(ValueError, match=match):
        RunOptions(**{"multihost": True, **options}).check(Config())


@pytest.mark.parametrize(
    "command",
    [
        lambda argv: accelerators.main(["runs/none", *argv]),
        lambda argv: background.main(["runs/none", *argv]),
        lambda argv: export.main(["runs/none", *argv]),
        lambda argv: thresholds.main(["runs/none", *argv]),
        lambda argv: compare("a", {"full": MethodGrid()}, doc="", argv=argv),
        lambda argv: compare("a", {"full": PenaltyGrid()}, doc="", argv=argv),
    ],
)
def test_commands_of_one_process_refuse_several(command, capsys):
    with pytest.raises(SystemExit) as left:
        command(["--run.multihost"])
    assert left.value.code == 2
    assert "error: --run.multihost: " in capsys.readouterr().err


def test_ctrl_c_before_training_leaves_with_one_line():
    done = _python(
        "import os, signal\n"
        "from experiments.running.command_line import status\n"
        "def plan():\n"
        "    try:\n"
        "        os.kill(os.getpid(), signal.SIGINT)\n"
        "    except KeyboardInterrupt:\n"
        "        pass  # as a callback of JAX swallows it\n"
        "status(plan, print)\n"
        "print('went on')"
    )
    assert done.returncode == 130
    assert done.stdout == ""
    said = "interrupted; the same command continues from what is saved"
    assert done.stderr.strip() == said


def test_a_command_gives_the_handler_back():
    from experiments.running.command_line import status

    before = signal.getsignal(signal.SIGINT)
    status(lambda: None, lambda _: None)
    assert signal.getsignal(signal.SIGINT) is before


SERVICE = [
    b"W1126 00:31:20.441387 3240 preemption_sync_manager.cc:147] Failed to retrieve\n",
    b"=== Source Location Trace: ===\n",
]
FATAL = [
    b"F1126 00:31:20.441482 3240 client.h:86] Terminating process because\n",
    b"*** Check failure stack trace: ***\n",
]


@pytest.mark.parametrize(
    ("lines", "left"),
    [
        ([b"a\n", *SERVICE, b"b\n"], [b"a\n", *SERVICE, b"b\n"]),
        ([b"a\n", *SERVICE, *FATAL], [b"a\n", b"gone\n"]),
        ([*SERVICE, b"error: full\n", *FATAL], [b"error: full\n"]),
        ([b"W1126 00:31:20.4 1 preemption_notifier.cc:94] SIGTERM\n", b"a\n"],) * 2,
    ],
)
def test_an_abort_of_jax_is_one_line(lines, left):
    assert list(last_words.filtered(lines, b"gone\n")) == left


def test_standard_error_ends_with_the_line_if_the_process_is_ended():
    done = _python(
        "import os, sys\n"
        "from experiments.running import last_words\n"
        "last_words.speak_for('error: gone')\n"
        "print('here', file=sys.stderr)\n"
        f"os.write(2, {FATAL[0]!r})\n"
        "os.abort()"
    )
    assert done.returncode == -signal.SIGABRT
    assert done.stderr.splitlines() == ["here", "error: gone"]
