"""Multiplications of whole training steps: forward, input and weight gradients."""
