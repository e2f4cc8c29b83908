"""``outlast``: says which package is missing, or hands over to the command line."""

from __future__ import annotations

import os
import sys

_NEEDED = {"typer", "rich", "click", "pydantic", "yaml", "pathspec", "obstore", "httpx"}


def main() -> None:
    """The console script."""
    # Closed by whoever started it: then nobody wants to read.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: PTH123, SIM115
    sys.stderr = sys.stderr or open(os.devnull, "w")  # noqa: PTH123, SIM115
    try:
        from outlast_provisioning.cli.app import run  # noqa: PLC0415 - after the check
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] not in _NEEDED:
            raise
        sys.stderr.write(
            f"outlast: the command line needs {error.name}: pip install 'outlast[cli]'\n"
        )
        sys.exit(2)
    sys.exit(run())


if __name__ == "__main__":
    main()
