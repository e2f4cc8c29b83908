"""``outlast``: says which package is missing, or hands over to the command line."""

from __future__ import annotations

import sys

_NEEDED = {"typer", "rich", "click", "pydantic", "yaml", "pathspec", "obstore", "httpx"}


def main() -> None:
    """The console script."""
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
