"""A program bound again, equation by equation, on the positions that are kept."""

from dst_jax.channels.replay.interpreter import Replay

__all__ = ["Replay"]
