"""What is refused on JAX and PyTorch, in one line; and what else the library does there."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest

from trainer.exactness.forks import Done, Forks


class Scripts:
    """Runs functions of :mod:`trainer.backends.scripts`, one process after the other."""

    def __init__(self, forks: Forks, folder: Path) -> None:
        self._forks, self._folder = forks, folder
        self._numbers = itertools.count(1)

    def run(self, name: str, **more: Any) -> Done:
        return self._forks.run(
            f"trainer.backends.scripts:{name}",
            more,
            folder=self._folder,
            log=self._folder / f"log-{next(self._numbers)}.txt",
        )

    def refused(self, name: str, **more: Any) -> str:
        """The last line of what it printed."""
        done = self.run(name, **more)
        assert done.code == 1, done.log
        assert "Traceback" not in done.log
        return done.log.splitlines()[-1]


@pytest.fixture
def scripts(forks: Forks, tmp_path: Path) -> Scripts:
    return Scripts(forks, tmp_path)


def test_a_distribution(scripts: Scripts) -> None:
    line = scripts.refused("distributed")
    assert "does not save what is trained under keras.distribution (DataParallel)" in line


def test_variables_of_flax(scripts: Scripts, backend: str) -> None:
    if backend != "jax":
        pytest.skip("what jax alone has")
    assert "set KERAS_NNX_ENABLED=false" in scripts.refused("of_flax")


def test_a_checkpoint_of_another_framework(scripts: Scripts, backend: str) -> None:
    assert scripts.run("trained", kill=3).code == -9
    line = scripts.refused("trained", saved_by="keras")
    assert f"was saved by Keras on tensorflow, and this is Keras on {backend}: " in line
    assert "go on with KERAS_BACKEND=tensorflow" in line
    done = scripts.run("trained")
    assert done.code == 0, done.log


def test_another_model(scripts: Scripts) -> None:
    assert scripts.run("trained", kill=3).code == -9
    line = scripts.refused("trained", units=6)
    assert "holds another model or optimizer: variable 0 was " in line


def test_an_untested_keras_falls_back_to_epochs(scripts: Scripts) -> None:
    whole = scripts.run("trained", version="4.0.1")
    assert whole.code == 0, whole.log
    scripts.run("forgotten")
    assert scripts.run("trained", version="4.0.1", kill=5).code == -9
    done = scripts.run("trained", version="4.0.1")
    assert "Keras 4.0.1 was not tested" in done.log
    assert "going on after step" in done.log
    assert done.log.splitlines()[-1] == whole.log.splitlines()[-1]


def test_without_tensorflow(scripts: Scripts) -> None:
    done = scripts.run("trained", without=["tensorflow"])
    assert done.code == 0, done.log


def test_what_is_held_stays_as_it_is(scripts: Scripts) -> None:
    """JAX takes the memory of its variables back with the next step, PyTorch writes into it."""
    done = scripts.run("held")
    assert done.code == 0, done.log


def test_a_loop_of_one_s_own(scripts: Scripts) -> None:
    whole = scripts.run("own_loop")
    assert whole.code == 0, whole.log
    scripts.run("forgotten")
    assert scripts.run("own_loop", kill=3).code == -9
    done = scripts.run("own_loop")
    assert "going on after step" in done.log, done.log
    assert done.log.splitlines()[-1] == whole.log.splitlines()[-1]
