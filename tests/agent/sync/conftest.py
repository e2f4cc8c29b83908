"""An empty scratch folder."""

from __future__ import annotations

import pytest


@pytest.fixture
def scratch(tmp_path):
    folder = tmp_path / "scratch"
    (folder / "checkpoints").mkdir(parents=True)
    return folder
