"""Figures of a report, one subject a file."""
