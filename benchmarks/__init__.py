"""What is measured, against what: every figure is a ratio within one run."""
