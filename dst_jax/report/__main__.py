"""Rebuilds the reports of runs, and compares several.

    python -m dst_jax.report RUN_DIR [RUN_DIR ...] [--output DIR] [--csv DIR]

One run: its tables in the terminal, and its report.html anew. Several: each one's
report.html, the tables side by side, and comparison.html in DIR, by default the
current directory. With --csv, every table as a CSV file in that directory. Exit
status: 0, or 2 with a message if a run cannot be read.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from dst_jax import report


def main(arguments: Sequence[str] | None = None) -> int:
    """The command line; returns the exit status.

    >>> main(["runs/nowhere"])
    2
    """
    parser = argparse.ArgumentParser(
        prog="python -m dst_jax.report",
        description="Rebuild the reports of runs and compare several side by side.",
    )
    parser.add_argument("run_dirs", metavar="RUN_DIR", nargs="+")
    parser.add_argument(
        "--output",
        metavar="DIR",
        default=".",
        help="where comparison.html of several runs goes (default: here)",
    )
    parser.add_argument(
        "--csv", metavar="DIR", help="also every table as a CSV file in this directory"
    )
    options = parser.parse_args(arguments)
    try:
        report.show(options.run_dirs)
        written = [report.write(run_dir) for run_dir in options.run_dirs]
        if len(options.run_dirs) > 1:
            written.append(report.compare(options.run_dirs, Path(options.output)))
        if options.csv is not None:
            written += report.write_csv(options.run_dirs, options.csv)
    except (OSError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    for path in written:
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())
