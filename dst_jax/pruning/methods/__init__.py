"""Methods: each is a score x a distribution x a schedule x a structure."""
