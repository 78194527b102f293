"""What a command says while it runs."""

import io

import pytest
import rich.console

from dst_jax.train import Console


def shown(*, terminal):
    file = io.StringIO()
    console = rich.console.Console(
        file=file, force_terminal=terminal, width=80, highlight=False
    )
    return Console(console), file


def test_a_bar_is_on_a_terminal_only_and_is_removed():
    console, file = shown(terminal=True)
    with console.bar("estimates", steps=3) as advance:
        advance(1, "scnn")
        console.say("  dense: 7 cycles an image")
    assert all(word in file.getvalue() for word in ("estimates", "1/3", "scnn"))
    assert "dense: 7 cycles" in file.getvalue()
    assert console._bar is None
    console, file = shown(terminal=False)
    with console.bar("estimates", steps=3) as advance:
        advance(1, "scnn")
        console.say("  dense: 7 cycles an image")
    assert file.getvalue() == "  dense: 7 cycles an image\n"


def test_an_error_removes_the_bar():
    console, _ = shown(terminal=True)
    with pytest.raises(ValueError, match="gone"), console.bar("estimates", steps=3):
        raise ValueError("gone")
    assert console._bar is None
