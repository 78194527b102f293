"""Multiplications as a differentiable loss, and costs of single nonzeros."""
