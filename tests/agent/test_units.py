"""The systemd units start programs that exist, and keep what the design asks of them."""

import configparser
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from outlast_agent import crashes

ROOT = Path(__file__).parents[2]
UNITS = sorted((ROOT / "systemd").glob("*.service"))


def unit(path: Path) -> configparser.ConfigParser:
    parser = configparser.ConfigParser(interpolation=None, strict=True)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read(path)
    return parser


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_the_program_and_its_subcommand_are_ours(path):
    command = unit(path)["Service"]["ExecStart"].split()
    program, subcommand = Path(command[0]).name, command[1]
    assert f"\n{program} = " in (ROOT / "pyproject.toml").read_text()
    beside = Path(sys.executable).parent / program
    done = subprocess.run([beside, subcommand, "--help"], capture_output=True, check=False)
    assert done.returncode == 0


def test_the_daemon_ends_its_machine_and_leaves_training_alone_when_restarted():
    parsed = unit(ROOT / "systemd/outlast-agent.service")
    assert parsed["Unit"]["SuccessAction"] == "poweroff"
    assert parsed["Service"]["Restart"] == "on-failure"
    assert parsed["Service"]["KillMode"] == "process"


def test_a_daemon_that_cannot_begin_does_not_keep_its_machine():
    """But one that fails by itself is to say so first: that takes it two minutes."""
    parsed = unit(ROOT / "systemd/outlast-agent.service")
    assert parsed["Unit"]["StartLimitAction"] == "poweroff"
    burst, interval = (
        int(parsed["Unit"][name]) for name in ("StartLimitBurst", "StartLimitIntervalSec")
    )
    restart = float(parsed["Service"]["RestartSec"])
    assert crashes.LEAST_SECONDS < burst * restart < interval


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_systemd_finds_nothing_wrong(path, tmp_path):
    if not shutil.which("systemd-analyze"):
        pytest.skip("systemd-analyze is not installed")
    text = path.read_text().replace("/opt/outlast/bin/", "/bin/true #")
    copy = tmp_path / path.name
    copy.write_text(text)
    done = subprocess.run(
        ["systemd-analyze", "verify", copy], capture_output=True, text=True, check=False
    )
    assert "Unknown" not in done.stderr
