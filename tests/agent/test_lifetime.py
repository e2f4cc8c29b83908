"""How long a machine has lived, over restarts of daemon and machine."""

from __future__ import annotations

from outlast_agent.lifetime import read_life


def test_life_goes_on_over_restarts_of_daemon_and_machine(tmp_path):
    path = tmp_path / "lived.json"
    life = read_life(path, "boot 1", now=1000.0)
    assert life.lived(1060.0) == 60.0
    life.write(1060.0)
    assert read_life(path, "boot 1", now=1100.0).lived(1100.0) == 100.0
    # Another boot: the clock begins anew, the life does not.
    again = read_life(path, "boot 2", now=5.0)
    assert again.lived(15.0) == 70.0
    again.write(15.0)
    assert read_life(path, "boot 2", now=25.0).lived(25.0) == 80.0
    path.write_text("nonsense")
    assert read_life(path, "boot 2", now=25.0).lived(25.0) == 0.0
