"""Custom Keras loops: the dataset goes on where it was, another model is refused.

They run in a process forked from one that has imported TensorFlow.
"""

from __future__ import annotations

import re
import textwrap

from trainer.exactness.forks import shared

SCRIPT = """
    import tempfile, pathlib
    import keras, numpy as np, tensorflow as tf
    from outlast.plain import decode, encode
    from outlast.tracked_dataset import TrackedDataset
    from outlast.tracking import track

    folder = pathlib.Path(tempfile.mkdtemp())
    for name in "abcd":
        (folder / name).write_text("".join(f"{name}{i}\\n" for i in range(8)))
    base = tf.data.Dataset.range(23)
    lines = lambda path: tf.data.TextLineDataset(path).shuffle(5)
    PIPELINES = {
        "plain": lambda: base.batch(4),
        "shuffle": lambda: base.shuffle(9).batch(4),
        "chain": lambda: base.shuffle(23).shuffle(6).batch(4).prefetch(2),
        "files": lambda: tf.data.Dataset.list_files(str(folder / "*")).interleave(lines).shuffle(9),
        "repeat": lambda: base.shuffle(23).repeat(2).batch(5),
        "endless": lambda: base.shuffle(23).batch(4).repeat().take(20),
        "cache": lambda: base.shuffle(23).cache().batch(4),
        "filter": lambda: base.filter(lambda x: x % 3 > 0).shuffle(9).batch(2),
        "map": lambda: base.shuffle(9).map(lambda x: x * x, num_parallel_calls=2).batch(4),
        "fixed": lambda: base.shuffle(9, reshuffle_each_iteration=False).batch(4),
    }

    def fresh(build):
        keras.utils.set_random_seed(5)
        return TrackedDataset("data", build())

    def passes(data, count):
        return [(data.passes, np.array(element.numpy()).tolist())
                for _ in range(data.passes, count) for element in data]

    for name, build in PIPELINES.items():
        reference = passes(fresh(build).iterable, 3)
        assert reference == passes(fresh(build).iterable, 3), name
        each = len(reference) // 3
        for stop in (0, 1, each - 1, each, each + 2, 2 * each, 3 * each):
            first = fresh(build)
            seen, saved = [], first.capture()
            if stop:
                for _ in range(3):
                    for element in first.iterable:
                        seen.append((first.iterable.passes, np.array(element.numpy()).tolist()))
                        if len(seen) == stop:
                            break
                    if len(seen) == stop:
                        break
                saved = first.capture()
            state, arrays = encode(saved)
            second = fresh(build)
            second.restore(decode(state, arrays))
            assert second.capture() == saved, name
            assert seen + passes(second.iterable, 3) == reference, (name, stop)
    print("pipelines", len(PIPELINES))

    def model(units):
        layers = [keras.Input((3,)), keras.layers.Dense(units), keras.layers.Dropout(0.5)]
        return keras.Sequential(layers)

    one = model(4)
    tracked = track({"model": one, "optimizer": keras.optimizers.Adam()})
    saved = {name: thing.capture() for name, thing in tracked.items()}
    one.layers[0].kernel.assign(np.zeros((3, 4)))
    tracked["model"].restore(saved["model"])
    assert np.abs(one.layers[0].kernel.numpy()).sum() > 0
    print("optimizer", len(saved["optimizer"]))

    deeper = keras.Sequential([one, keras.layers.Dense(1)])
    for what, thing in {"other": model(5), "deeper": deeper}.items():
        thing.build((None, 3))
        before = [weight.copy() for weight in thing.get_weights()]
        print(what, track({"model": thing})["model"].check(saved["model"]))
        assert all((a == b).all() for a, b in zip(before, thing.get_weights()))
    for bad in ({"model": keras.Sequential([keras.layers.Dense(1)])},
                {"optimizer": keras.optimizers.Adam()}):
        try:
            track(bad)
        except ValueError as error:
            print(error)
    print("warnings", [code for code, _ in TrackedDataset("data", base.batch(2)).warnings])
"""


def test_datasets_models_and_optimizers(tmp_path):
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(SCRIPT))
    done = shared().run(
        "runpy:run_path", {"path_name": str(script)}, folder=tmp_path, log=tmp_path / "log"
    )
    assert done.code == 0, done.log[-3000:]
    lines = done.log.splitlines()
    assert lines[0] == "pipelines 10"
    assert lines[1] == "optimizer 6"
    assert lines[2].startswith("other variable 0 was ")
    assert "kernel" in lines[2]
    assert re.fullmatch(r"deeper \d+ variables were saved and here are \d+, with .*", lines[3])
    assert lines[4] == "model has no variables yet: call it once, or build it, and track it then"
    assert lines[5].startswith("optimizer has no variables yet: call optimizer.build(")
    assert lines[6] == "warnings []"
