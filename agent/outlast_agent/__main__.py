"""``outlast-agent``: says which package is missing, or hands over to the command."""

from __future__ import annotations

import sys

_NEEDED = {"docker", "httpx", "obstore", "pydantic", "pydantic_core", "structlog", "watchdog"}


def main() -> int:
    """The console script."""
    try:
        from outlast_agent.command import run  # noqa: PLC0415 - after the check

        return run()
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] not in _NEEDED:
            raise
        sys.stderr.write(f"outlast-agent: it needs {error.name}: pip install 'outlast[agent]'\n")
        return 2


if __name__ == "__main__":
    sys.exit(main())
