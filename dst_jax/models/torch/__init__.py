"""Weights of public PyTorch code: names, layouts, files, formats."""
