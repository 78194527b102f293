"""Multiplications as a differentiable loss, and what single nonzeros cost."""
