"""The table: every script, its shape, and what is promised for it."""

from __future__ import annotations

from dataclasses import dataclass

from trainer.exactness.stops import Fit


@dataclass(frozen=True)
class Scenario:
    """One script of :mod:`trainer.exactness.scripts`."""

    script: str
    """``module.function``."""
    fits: tuple[Fit, ...] = (Fit(),)
    """The shape of its fits: of a script that stops by itself, the part that it surely reaches."""
    told: frozenset[str] = frozenset()
    """Codes of notes that may be told before the first step: then it need not be exact."""
    must_tell: bool = False
    """It cannot be exact: one of ``told`` has to be there."""
    seeded: bool = True
    """``set_random_seed`` is called, so the callback may not change anything either."""
    comparable: bool = True
    """Two uninterrupted runs are equal."""

    def __str__(self) -> str:
        return self.script


def _batches(*indices: int) -> tuple[int, ...]:
    return indices


SHORT = Fit(batches=_batches(0, 1, 2, 3, 4))
FOUR = Fit(epochs=4)
HELD = Fit(validation=3)


def named(script: str) -> Scenario:
    """The scenario of this script."""
    (found,) = (scenario for scenario in (*EVERYTHING, *PHASES) if scenario.script == script)
    return found


def _maybe(script: str, *codes: str, fits: tuple[Fit, ...] = (Fit(),)) -> Scenario:
    """Exact, or said before the first step."""
    return Scenario(script, fits, told=frozenset(codes))


def _told(
    script: str, *codes: str, fits: tuple[Fit, ...] = (Fit(),), comparable: bool = True
) -> Scenario:
    """Not exact, and said before the first step."""
    return Scenario(script, fits, frozenset(codes), must_tell=True, comparable=comparable)


DATA = (
    Scenario("data.shuffled"),
    Scenario("data.shuffled_small_buffer", (Fit(4, _batches(0, 1, 2, 3, 4)),)),
    Scenario("data.shuffled_after_batch"),
    Scenario("data.shuffled_once"),
    Scenario("data.parallel_map"),
    Scenario("data.cached"),
    Scenario("caches.kept"),
    Scenario("caches.lost"),
    Scenario("data.filtered", (SHORT,)),
    Scenario("data.filtered_without_jit", (SHORT,)),
    Scenario("data.interleaved"),
    Scenario("data.shuffled_inside_interleave"),
    _maybe("data.two_shuffles", "shuffle-chain", fits=(FOUR,)),
    _maybe("data.three_shuffles", "shuffle-chain", fits=(FOUR,)),
    _maybe("data.listed_files", "shuffle-chain", "list-files", fits=(FOUR,)),
    Scenario("data.image_folder"),
    Scenario("data.timeseries"),
    _maybe("data.shuffle_repeat", "shuffle-repeat", fits=(FOUR,)),
    Scenario("data.repeat_shuffle"),
    _maybe("data.shuffle_repeat_thrice", "shuffle-repeat"),
    Scenario("data.plain_repeat"),
    Scenario("data.steps_across_passes", (Fit(1, _batches(0, 1, 2, 3)),)),
    Scenario("data.unshuffled"),
    Scenario("data.dictionaries"),
    Scenario("data.zipped"),
    Scenario("data.stateless_random_map"),
    Scenario("held.cached_then_shuffled", (HELD,)),
    Scenario("held.cached_between_shuffles", (FOUR,)),
    Scenario("held.shuffled_then_cached"),
    Scenario("held.small_elements"),
    Scenario("held.two_large_shuffles", (FOUR,)),
    Scenario("held.same_order"),
    Scenario("held.interleaved"),
    Scenario("held.cached_in_a_file"),
    Scenario("held.cached_in_a_file_that_stays"),
    Scenario("held.endless", (FOUR,)),
    Scenario("held.endless_by_batch", (Fit(4, _batches(0, 1, 2, 3)),)),
    Scenario("held.across_passes", (Fit(1, _batches(0, 1, 2, 3)),)),
)
ARRAYS = (
    Scenario("data.arrays", (FOUR,)),
    Scenario("data.arrays_in_order"),
    Scenario("data.tensors"),
    Scenario("data.arrays_by_batch"),
    Scenario("data.class_weights"),
    Scenario("data.sample_weights"),
    Scenario("data.pydataset"),
    Scenario("data.pydataset_shuffled_by_keras"),
    Scenario("data.pydataset_in_order"),
    Scenario("data.pydataset_with_workers"),
    Scenario("validation.plain", (HELD,)),
    Scenario("validation.shuffled", (HELD,)),
    Scenario("validation.shuffled_then_cached", (HELD,)),
    Scenario("validation.arrays_every_other", (Fit(4, validation=3, validation_every=2),)),
    Scenario("validation.steps", (Fit(validation=2),)),
    Scenario("validation.split", (Fit(batches=_batches(0, 1, 2, 3, 4), validation=2),)),
)
TOLD = (
    _told("data.generator", "generator"),
    _told("data.from_generator", "generator"),
    _maybe("data.py_function", "py-function"),
    _told("data.random_map", "random-map"),
    _told("data.parallel_random_map", "random-map", comparable=False),
    _maybe("data.sampled_from", "random-map", "shuffle-repeat", "shuffle-chain"),
    _told("data.unseeded", "shuffle-unseeded", comparable=False),
    _told("held.unseeded_buffer", "shuffle-unseeded", comparable=False),
    _told("training.stateful_random_step", "random-step"),
)
# Nobody can compare two runs of these, but each epoch has to see every sample once.
UNSEEDED = (
    Scenario("data.arrays_unseeded", seeded=False, comparable=False),
    Scenario("data.pydataset_unseeded", seeded=False, comparable=False),
)
TRAINING = (
    Scenario("training.functional"),
    Scenario("training.subclassed"),
    Scenario("training.own_train_step"),
    Scenario("training.gan"),
    Scenario("training.jit"),
    Scenario("training.eager"),
    Scenario("training.several_steps_per_execution", (Fit(3, _batches(3, 7), validation=1),)),
    Scenario("training.mixed_float16"),
    Scenario("training.mixed_bfloat16"),
    Scenario("training.pure_bfloat16"),
    Scenario("training.accumulation"),
    Scenario("training.ema"),
    Scenario("training.ema_at_end"),
    Scenario("training.schedule"),
    Scenario("training.mirrored", (HELD,)),
    Scenario("training.embedding_and_recurrence"),
    Scenario("training.metrics_of_many_kinds", (HELD,)),
)
CALLBACKS = (
    Scenario("callbacks.early_stopping", (Fit(3, validation=3),)),
    Scenario("callbacks.resume_before_early_stopping"),
    Scenario("callbacks.reduce_on_plateau", (Fit(4, validation=3),)),
    Scenario("callbacks.rate_scheduler"),
    Scenario("callbacks.user_callback"),
    Scenario("callbacks.lambda_callback"),
    Scenario("callbacks.teacher"),
    Scenario("callbacks.functions_of_many_kinds"),
    Scenario("callbacks.ends_by_itself", (Fit(2),)),
    Scenario("training.unfreezing", (Fit(2, validation=3), Fit(2))),
    Scenario("training.going_on", (Fit(2), Fit(2, first_epoch=2), Fit(2, first_epoch=4))),
    Scenario("training.two_models", (Fit(2), Fit(2))),
    Scenario("training.random_between", (Fit(2), Fit(2))),
    Scenario("training.saves_at_the_end"),
)
FILES = (
    Scenario("files.csv_logger", (HELD,)),
    Scenario("files.csv_logger_appending", (Fit(2, validation=3), Fit(2, validation=3))),
    Scenario("files.model_checkpoint", (HELD,)),
    Scenario("files.best_by_accuracy", (HELD,)),
    Scenario("files.tensorboard", (HELD,)),
    Scenario("files.tensorboard_by_batch", (HELD,)),
    _maybe("files.own_log", "callback-state", fits=(HELD,)),
    Scenario("files.everything", (Fit(4, validation=3),)),
    Scenario("files.backup_and_restore", (HELD,)),
    Scenario("files.swap_ema", (HELD,)),
    Scenario("files.progress_bar"),
    Scenario("files.terminate_on_nan", (Fit(1, validation=3),)),
)
PHASES = (
    Scenario("training.slow_epoch_end"),
    Scenario("training.long_step", told=frozenset({"py-function"})),
    Scenario("training.long_execution", (Fit(3, _batches(999)),), frozenset({"py-function"})),
)
EVERYTHING = (*DATA, *ARRAYS, *TOLD, *UNSEEDED, *TRAINING, *CALLBACKS, *FILES)

# Variants that only the whole table (-m exhaustive) tries: each has a sister above that is tried
# every day.
RARE = frozenset(
    {
        "data.shuffled_small_buffer",
        "data.shuffled_after_batch",
        "data.three_shuffles",
        "data.timeseries",
        "data.shuffle_repeat_thrice",
        "data.plain_repeat",
        "data.unshuffled",
        "data.zipped",
        "data.arrays_in_order",
        "data.arrays_by_batch",
        "data.pydataset_in_order",
        "held.cached_between_shuffles",
        "held.small_elements",
        "held.two_large_shuffles",
        "held.same_order",
        "held.interleaved",
        "held.cached_in_a_file",
        "held.cached_in_a_file_that_stays",
        "held.endless_by_batch",
        "held.across_passes",
        "held.unseeded_buffer",
        "validation.arrays_every_other",
        "validation.steps",
        "training.eager",
        "training.pure_bfloat16",
        "training.ema_at_end",
        "training.embedding_and_recurrence",
        "training.metrics_of_many_kinds",
        "callbacks.resume_before_early_stopping",
        "callbacks.ends_by_itself",
        "files.best_by_accuracy",
        "files.progress_bar",
        "files.terminate_on_nan",
    }
)
