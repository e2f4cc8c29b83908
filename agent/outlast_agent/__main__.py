"""``outlast-agent``: says which package is missing, or hands over to the command."""

from __future__ import annotations

import contextlib
import os
import sys
from typing import NoReturn

_NEEDED = {"docker", "httpx", "obstore", "pydantic", "pydantic_core", "structlog", "watchdog"}


def main() -> NoReturn:
    """The console script: once the daemon says that the machine may go, nothing is waited for.

    An interpreter that ends as usual waits for the threads of its pools: for the pull of an
    image or a download that nobody needs any more. A kill at any instant is safe, so is this.
    """
    code = _run()
    with contextlib.suppress(OSError):  # full or closed: that was told, if it could be
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _run() -> int:
    try:
        from outlast_agent.command import run  # noqa: PLC0415 - after the check

        return run()
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] not in _NEEDED:
            raise
        sys.stderr.write(f"outlast-agent: it needs {error.name}: pip install 'outlast[agent]'\n")
        return 2


if __name__ == "__main__":
    main()
