import json
from pathlib import Path

import numpy as np
import pytest

from outlast_provisioning.demo.compare import compare_outputs


def outputs(folder: Path, *, weight: float = 1.0, loss: float = 0.5, rows: int = 2) -> Path:
    folder.mkdir()
    np.savez(folder / "variables.npz", **{"000 kernel": np.float32([weight, 2.0]), "001 seed": 3})
    (folder / "history.json").write_text(json.dumps({"loss": [loss]}))
    (folder / "log.csv").write_text("epoch,loss\n" * rows)
    return folder


def test_equal_runs_are_equal(tmp_path):
    result = compare_outputs(outputs(tmp_path / "a"), outputs(tmp_path / "b"))
    assert result.equal
    assert result.variables == 2


def test_one_bit_in_one_weight_is_seen(tmp_path):
    nearly = float(np.nextafter(np.float32(1.0), np.float32(2.0)))
    result = compare_outputs(outputs(tmp_path / "a"), outputs(tmp_path / "b", weight=nearly))
    assert result.mismatching_variables == ("000 kernel",)
    assert not result.equal


@pytest.mark.parametrize("change", [{"loss": 0.5000000000000001}, {"rows": 3}])
def test_history_and_log_are_compared_to_the_last_digit(tmp_path, change):
    result = compare_outputs(outputs(tmp_path / "a"), outputs(tmp_path / "b", **change))
    assert not result.equal
    assert not result.mismatching_variables
