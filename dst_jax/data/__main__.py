"""The command line: `python -m dst_jax.data prepare NAME`."""

import argparse
import sys
from collections.abc import Sequence

from dst_jax.data.prepare import prepare
from dst_jax.data.recipes import MADE, names

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs the command line and returns its exit status: 0, or 2 with a reason.

    >>> main(["prepare", "digits"])
    digits needs no preparation: it comes with scikit-learn
    0
    """
    options = _parser().parse_args(arguments)
    try:
        folder = prepare(
            options.name, data_dir=options.data_dir, manual_dir=options.manual_dir
        )
    except (OSError, ModuleNotFoundError, ValueError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if folder is None:
        where = "it comes with scikit-learn"
        if options.name in MADE:
            where = "name the folder with --data.dir"
        elif ":" in options.name:
            where = "its files are read as they are"
        print(f"{options.name} needs no preparation: {where}")
    else:
        print(f"{options.name} is ready in {folder}")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m dst_jax.data")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    command = commands.add_parser(
        "prepare", help="download a data set and prepare it in array_record format"
    )
    command.add_argument(
        "name", metavar="NAME", help=f"one of: {', '.join(names())}, tfds:NAME"
    )
    command.add_argument(
        "--data-dir", help="where to; default $TFDS_DATA_DIR or ~/tensorflow_datasets"
    )
    command.add_argument(
        "--manual-dir",
        help="folder of archives downloaded by hand; default DATA_DIR/downloads/manual",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
