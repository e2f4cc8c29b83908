"""The command line of the daemon."""

from __future__ import annotations

import pytest

from outlast import __version__
from outlast_agent import command


def test_which_version(capsys):
    with pytest.raises(SystemExit) as left:
        command.run(["--version"])
    assert left.value.code == 0
    assert capsys.readouterr().out == f"outlast {__version__}\n"
