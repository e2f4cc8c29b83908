"""Scripts for Keras on JAX and PyTorch, which must do without TensorFlow."""

from __future__ import annotations

import random
import sys
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from trainer.exactness.scripts.pieces import BATCH, Trained, compiled, samples, tiny

Resume = list[Any]


def _fit(resume: Resume, *data: Any, model: Any = None, callbacks: Any = (), **options: Any) -> Any:
    model = compiled() if model is None else model
    options = {"epochs": 3, "verbose": 0, **options}
    history = model.fit(*data, callbacks=[*callbacks, *resume], **options)
    return Trained([model], [history], samples()[0][:8])


def everything(resume: Resume) -> Trained:
    """Shuffled arrays; BatchNorm, averages of the weights, a schedule, two callbacks."""
    keras.utils.set_random_seed(7)
    model = keras.Sequential(
        [
            keras.Input((4,)),
            keras.layers.Dense(6),
            keras.layers.BatchNormalization(),
            keras.layers.GaussianNoise(0.1),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(1),
        ]
    )
    optimizer = keras.optimizers.AdamW(0.01, use_ema=True, ema_overwrite_frequency=4)
    callbacks = [
        keras.callbacks.EarlyStopping("val_loss", patience=3, restore_best_weights=True),
        keras.callbacks.ReduceLROnPlateau("val_loss", factor=0.5, patience=1, min_delta=0.01),
    ]
    return _fit(
        *(resume, *samples()),
        model=compiled(model, optimizer),
        batch_size=BATCH,
        callbacks=callbacks,
        validation_data=samples(20, seed=4),
        validation_batch_size=BATCH,
    )


def by_batch(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    return _fit(resume, *samples(), batch_size=BATCH, shuffle="batch", validation_split=0.25)


def in_steps(resume: Resume) -> Trained:
    """An iterator that goes on through epochs, and is made before numbers are drawn."""
    keras.utils.set_random_seed(7)
    drawing = keras.callbacks.LambdaCallback(
        on_epoch_begin=lambda epoch, logs: _draw(),
        on_train_batch_begin=lambda batch, logs: _draw(),
    )
    options = {"batch_size": 4, "steps_per_epoch": 4, "epochs": 4, "callbacks": [drawing]}
    return _fit(resume, *samples(), **options)


def in_order(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    optimizer = keras.optimizers.SGD(0.05, gradient_accumulation_steps=2)
    model = compiled(optimizer=optimizer)
    return _fit(resume, *samples(), model=model, batch_size=BATCH, shuffle=False)


def pure_bfloat16(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    keras.config.set_dtype_policy("bfloat16")
    return _fit(resume, *samples(), batch_size=BATCH)


def several_steps(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    return _fit(resume, *samples(), model=compiled(steps_per_execution=3), batch_size=BATCH)


class Pairs(keras.utils.PyDataset):
    """Shuffles itself, and adds noise from numpy's global generator and from one of its own."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.x, self.y = samples()
        self.order = np.arange(len(self.x))
        self.draw = np.random.default_rng(5)

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        chosen = self.order[index * BATCH : (index + 1) * BATCH]
        noise = np.zeros(4) if self.workers > 1 else np.random.normal(size=4) + self.draw.random(4)
        return (self.x[chosen] + 0.01 * noise).astype("float32"), self.y[chosen]

    def on_epoch_end(self) -> None:
        self.draw.shuffle(self.order)


def pydataset(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    return _fit(resume, Pairs(), validation_data=Pairs())


def pydataset_with_workers(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    return _fit(resume, Pairs(workers=2))


def generator(resume: Resume) -> Trained:
    """Only told, and exact since it yields the same again."""
    keras.utils.set_random_seed(7)

    def endless() -> Iterator[tuple[Any, Any]]:
        draw = np.random.default_rng(5)
        x, y = samples()
        while True:
            chosen = draw.integers(0, len(x), BATCH)
            yield x[chosen], y[chosen]

    return _fit(resume, endless(), steps_per_epoch=6)


def _look_ahead() -> None:
    """Have Keras read one batch ahead, as it does where JAX has a device."""
    import jax

    jax.default_backend = lambda: "gpu"


def arrays_ahead(resume: Resume) -> Trained:
    """Each batch draws from the generator that the callback draws from in between."""
    _look_ahead()
    keras.utils.set_random_seed(7)
    drawing = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: _draw())
    return _fit(resume, *samples(), batch_size=BATCH, shuffle="batch", callbacks=[drawing])


def _draw() -> None:
    """From the generators that the order of arrays is drawn from."""
    np.random.random()
    if "torch" in sys.modules:
        sys.modules["torch"].rand(1)


def pydataset_ahead(resume: Resume) -> Trained:
    _look_ahead()
    keras.utils.set_random_seed(7)
    return _fit(resume, Pairs())


class Counting(keras.callbacks.Callback):
    """A user's callback: counts, draws, acts on the model."""

    def __init__(self) -> None:
        super().__init__()
        self.drawn: list[float] = []
        self.average = np.zeros(2)
        self.teacher = tiny()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        if batch % 2 == 0:
            self.drawn.append(random.random())

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        self.average = 0.5 * self.average + np.array([logs["loss"], np.random.random()])
        for mine, its in zip(self.teacher.weights, self.model.weights, strict=True):
            mine.assign(0.9 * mine + 0.1 * its)


def user_callback(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    counting = Counting()
    trained = _fit(resume, *samples(), batch_size=BATCH, callbacks=[counting])
    trained.more = {"drawn": counting.drawn, "average": counting.average}
    trained.more |= {
        f"teacher {index}": keras.ops.convert_to_numpy(weight)
        for index, weight in enumerate(counting.teacher.weights)
    }
    return trained


def two_fits(resume: Resume) -> Trained:
    """Compiled anew in between, and half of it frozen."""
    keras.utils.set_random_seed(7)
    model = compiled()
    first = model.fit(*samples(), batch_size=BATCH, epochs=2, verbose=0, callbacks=[*resume])
    model.layers[0].trainable = False
    compiled(model, keras.optimizers.Adam(0.01))
    second = model.fit(*samples(seed=9), batch_size=BATCH, epochs=2, verbose=0, callbacks=resume)
    return Trained([model], [first, second], samples()[0][:8])


def _loader(**options: Any) -> Any:
    import torch

    torch.manual_seed(7)  # Keras seeds it only where it runs on it

    class Noisy(torch.utils.data.Dataset):  # type: ignore[misc,name-defined]
        """Draws from PyTorch's and Python's generators in every item, wherever it runs."""

        def __init__(self) -> None:
            self.x, self.y = map(torch.from_numpy, samples())

        def __len__(self) -> int:
            return len(self.x)

        def __getitem__(self, index: int) -> tuple[Any, Any]:
            return self.x[index] + 0.01 * torch.rand(4) + 0.01 * random.random(), self.y[index]

    return torch.utils.data.DataLoader(Noisy(), batch_size=BATCH, shuffle=True, **options)


def loader(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    return _fit(resume, _loader(), shuffle=False, validation_data=_loader())


def loader_with_generator(resume: Resume) -> Trained:
    import torch

    keras.utils.set_random_seed(7)
    draw = torch.Generator()
    draw.manual_seed(3)
    held = torch.Generator()
    held.manual_seed(4)
    train, test = _loader(generator=draw), _loader(generator=held)
    return _fit(resume, train, shuffle=False, validation_data=test)


def loader_with_workers(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    return _fit(resume, _loader(num_workers=1), shuffle=False)


def loader_over_iterable(resume: Resume) -> Trained:
    import torch

    class Endless(torch.utils.data.IterableDataset):  # type: ignore[misc,name-defined]
        def __iter__(self) -> Iterator[tuple[Any, Any]]:
            return iter(list(zip(*map(torch.from_numpy, samples()), strict=True)))

    keras.utils.set_random_seed(7)
    data = torch.utils.data.DataLoader(Endless(), batch_size=BATCH)
    return _fit(resume, data, shuffle=False)


def torch_module(resume: Resume) -> Trained:
    """Layers of PyTorch: a running mean that Keras has no variable for, Dropout of the global."""
    import torch

    keras.utils.set_random_seed(7)
    module = torch.nn.Sequential(
        torch.nn.Linear(4, 6), torch.nn.BatchNorm1d(6), torch.nn.Dropout(0.3), torch.nn.Linear(6, 1)
    )
    model = keras.Sequential([keras.Input((4,)), keras.layers.TorchModuleWrapper(module)])
    trained = _fit(resume, *samples(), model=compiled(model), batch_size=BATCH)
    trained.more = {name: value.cpu().numpy() for name, value in module.named_buffers()}
    return trained


class Twice(keras.Model):  # type: ignore[misc]
    """Two optimizers, one for each layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = keras.layers.Dense(5), keras.layers.Dense(1)
        self.d_optimizer = keras.optimizers.Adam(0.01)

    def call(self, x: Any) -> Any:
        return self.second(self.first(x))

    def train_step(self, data: Any) -> Any:
        import torch

        x, y = data
        self.zero_grad()
        loss = self.compute_loss(x=x, y=y, y_pred=self(x, training=True))
        loss.backward()
        for optimizer, layer in ((self.optimizer, self.first), (self.d_optimizer, self.second)):
            with torch.no_grad():
                grads = [weight.value.grad for weight in layer.trainable_weights]
                optimizer.apply(grads, layer.trainable_weights)
        return {"loss": loss.detach()}


def two_optimizers(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    model = Twice()
    model(np.zeros((1, 4), "float32"))
    model.d_optimizer.build(model.second.trainable_variables)
    return _fit(resume, *samples(), model=compiled(model, metrics=None), batch_size=BATCH)


def unbuilt_optimizer(resume: Resume) -> Trained:
    keras.utils.set_random_seed(7)
    return _fit(resume, *samples(), model=compiled(Twice(), metrics=None), batch_size=BATCH)
