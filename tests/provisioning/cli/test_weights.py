"""``export --to FILE.weights.h5`` of real trainings: what ``model.load_weights`` reads."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from agent.scratch_kit import Uploading
from outlast_agent import layout
from outlast_agent.records import dump
from outlast_agent.stores.file import FileStore
from provisioning.cli.commands import Outlast
from provisioning.simulated import NAME, job
from trainer.exactness.forks import shared


def _model(kind: str) -> Any:
    import keras
    from keras import layers

    def named(*numbers: int) -> list[Any]:
        return [layers.Dense(number, name=f"mine{number}") for number in numbers]

    if kind == "sequential":  # not built before it sees data
        first, last = named(4, 1)
        return keras.Sequential([first, layers.BatchNormalization(), layers.Dropout(0.5), last])
    if kind == "subclassed":

        class Own(keras.Model):  # type: ignore[misc]
            def __init__(self) -> None:
                super().__init__()
                self.blocks = named(4, 2)
                self.more = {"last": layers.Dense(1)}

            def call(self, x: Any) -> Any:
                for block in self.blocks:
                    x = block(x)
                return self.more["last"](x)

        return Own()
    given = keras.Input((3,))
    inner = keras.Sequential([layers.Dense(8), layers.Dense(8)])
    shared_layer = layers.Dense(8)
    h = layers.Reshape((2, 4))(shared_layer(shared_layer(inner(given) * 2)))
    h = layers.Flatten()(layers.MultiHeadAttention(2, 2)(h, h))
    policy = "mixed_bfloat16" if kind == "functional" else "bfloat16"
    return keras.Model(given, layers.Dense(1, dtype=policy)(h))


def _data() -> tuple[Any, Any]:
    random = np.random.default_rng(5)
    return random.random((40, 3), np.float32), random.random((40, 1), np.float32)


def train(kind: str) -> None:
    """Another ``fit`` comes before: the weights are those of the latest."""
    import keras

    import outlast

    keras.utils.set_random_seed(1)
    x, y = _data()
    for model in (_model("sequential"), _model(kind)):
        model.compile("adam", "mse", jit_compile=False)
        model.fit(x, y, epochs=1, batch_size=8, verbose=0, callbacks=[outlast.Resume()])
    model.save_weights("keras.weights.h5")
    print(json.dumps(np.asarray(model.predict(x, verbose=0), np.float64).tolist()))


def load(kind: str, file: str) -> None:
    """Into a new model, and into one that was trained."""
    import keras

    keras.utils.set_random_seed(2)
    x, y = _data()
    new, trained = _model(kind), _model(kind)
    new(x[:1])
    trained.compile("adam", "mse", jit_compile=False)
    trained.train_on_batch(x, y)
    for model in (new, trained):
        model.load_weights(file)
    for mine, its in zip(new.get_weights(), trained.get_weights(), strict=True):
        assert mine.tobytes() == its.tobytes()
    print(json.dumps(np.asarray(new.predict(x, verbose=0), np.float64).tolist()))


def run(folder: Path, name: str, environ: dict[str, str] | None = None, **more: Any) -> Any:
    log = folder / f"{name}.log"
    done = shared().run(
        f"provisioning.cli.test_weights:{name}", more, folder=folder, log=log, environ=environ
    )
    assert done.code == 0, done.log
    return json.loads(next(line for line in done.log.splitlines() if line.startswith("[[")))


def datasets(path: Path) -> dict[str, tuple[bytes, Any, Any, Any]]:
    """All that a model of another process would read, its optimizer's apart."""
    found: dict[str, tuple[bytes, Any, Any, Any]] = {}

    def look(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and not name.startswith("optimizer/"):
            found[name] = (item[()].tobytes(), item.dtype, item.shape, dict(item.attrs))

    with h5py.File(path) as file:
        file.visititems(look)
    return found


@pytest.mark.parametrize("kind", ["sequential", "functional", "bfloat16", "subclassed"])
def test_keras_reads_it_as_what_it_wrote_itself(
    kind: str, tmp_path: Path, outlast: Outlast
) -> None:
    scratch, outputs = tmp_path / "scratch", tmp_path / "outputs"
    for folder in (scratch, outputs):
        folder.mkdir()
    environ = {
        "OUTLAST_SCRATCH": str(scratch), "OUTLAST_OUTPUTS": str(outputs),
        "OUTLAST_JOB": NAME, "OUTLAST_ATTEMPT": "1",
    }  # fmt: skip
    trained = run(tmp_path, "train", environ, kind=kind)
    store = FileStore(tmp_path / "store")
    store.create(layout.job_file(NAME), dump(job()))
    with Uploading(store, scratch) as up:
        up.flush()
    for file in ("x.weights.h5", "x.safetensors"):
        outlast("checkpoints", "export", NAME, "--to", tmp_path / file, "--store", store.url)
    written = datasets(tmp_path / "x.weights.h5")
    assert written
    assert written == datasets(tmp_path / "keras.weights.h5")
    assert run(tmp_path, "load", kind=kind, file="x.weights.h5") == trained
