"""Every table of a report as CSV; `columns` says what each column of a file holds."""

from dst_jax.report.csv_files.writing import columns, contents, write_files

__all__ = ["columns", "contents", "write_files"]
