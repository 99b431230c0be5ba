"""The command line: one file a verb; parses, calls the api, prints."""

import sys

from partlabel.errors import PartlabelError


def main() -> None:
    """Entry point of `partlabel`: expected errors become one sentence and an exit code."""
    from partlabel.cli.app import app

    try:
        app(prog_name="partlabel")
    except PartlabelError as error:
        print(f"partlabel: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
