"""A folder with a job file, and the command, called within the test."""

from __future__ import annotations

from pathlib import Path

import pytest

from outlast_provisioning.cli.app import run
from provisioning.cli.commands import Outlast, write


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("OUTLAST_HOME", str(tmp_path / "home"))
    folder = tmp_path / "code"
    folder.mkdir()
    (folder / "train.py").write_text("print(1)\n")
    write(folder)
    return folder


@pytest.fixture
def outlast(capsys: pytest.CaptureFixture[str]) -> Outlast:
    def call(*arguments: object, code: int = 0) -> tuple[str, str]:
        found = run([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        assert found == code, (out, err)
        return out, err

    return call
