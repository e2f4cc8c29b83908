"""``outlast.Resume`` seen from a script: refusals, notes, the fallback, callbacks of users."""

from __future__ import annotations

import re

import pytest

from outlast.keras_fit import backends, versions


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    from trainer.keras.conftest import Scripts

    return Scripts(tmp_path_factory.mktemp("whole")).run("trained")


def test_killed_twice_then_run_again(scripts, expected) -> None:
    for batch in (3, 7):
        scripts.run("trained", kill=batch, code=9)
    assert scripts.run("trained") == expected
    assert scripts.run("trained") == expected


def test_an_untested_keras_falls_back_to_epochs(scripts, expected) -> None:
    scripts.run("trained", version="4.0.1", kill=5, code=9)
    assert "Keras 4.0.1 was not tested" in scripts.log
    scripts.run("trained", version="4.0.1", kill=8, built=False, code=9)
    # Arrays are shuffled alike in every pass when a seed is set, so here nothing differs.
    assert scripts.run("trained", version="4.0.1") == expected
    assert scripts.run("trained", version="4.0.1") == expected
    rows = (scripts.folder / "log.csv").read_text().splitlines()
    assert [row.split(",")[0] for row in rows] == ["epoch", "0", "1", "2", "3"]


def test_between_epochs_a_notice_does_not_wait_for_the_end_of_a_second_fit_s_first(
    scripts, expected
) -> None:
    scripts.run("trained", version="4.0.1", kill=8, softly=True, code=75)
    assert "stopped at step 8 (sigterm), saved" in scripts.log
    assert scripts.run("trained", version="4.0.1") == expected


def test_the_two_ways_do_not_take_each_others_checkpoints(scripts) -> None:
    scripts.run("trained", version="4.0.1", kill=5, code=9)
    scripts.run("trained", code=1)
    assert "was not saved by outlast.Resume with this version of Keras" in scripts.log


@pytest.mark.parametrize("version", ["3.15.1", "4.0.1"])
def test_a_checkpoint_of_another_model_is_refused(scripts, version) -> None:
    scripts.run("trained", version=version, kill=5, code=9)
    before = scripts.checkpoints()
    scripts.run("trained", version=version, units=6, code=1)
    line = scripts.log.splitlines()[-1]
    assert " holds another model or optimizer: variable 0 was " in line
    assert "dense/kernel of float32 (3, 4)" in line
    assert "float32 (3, 6)" in line
    assert re.search(r"or remove /.*\.outlast.* to begin anew. Nothing that is saved was", line)
    assert "Traceback" not in scripts.log
    after = scripts.checkpoints()
    assert after.items() <= before.items()
    assert {name for name in before if "checkpoints" in name} <= after.keys()


@pytest.mark.parametrize("version", ["3.15.1", "4.0.1"])
def test_another_optimizer_is_refused(scripts, version) -> None:
    scripts.run("trained", version=version, kill=5, code=9)
    scripts.run("trained", version=version, optimizer="sgd", code=1)
    assert re.search(
        r"another model or optimizer: \d+ variables were saved, with adam/.*, and here are \d+; "
        "give model and optimizer back the shape that they had, or remove ",
        scripts.log.splitlines()[-1],
    )


def test_exact_strict_refuses_another_machine(scripts) -> None:
    scripts.run("trained", kill=5, code=9)
    scripts.run("trained", environ={"OUTLAST_EXACT": "strict", "OMP_NUM_THREADS": "17"}, code=1)
    assert "exact: strict" in scripts.log


def test_another_machine_is_told(scripts) -> None:
    scripts.run("trained", kill=5, code=9)
    scripts.run("trained", environ={"OMP_NUM_THREADS": "17"})
    assert "numbers may differ in their last bits" in scripts.log


def test_a_callback_list_is_refused(scripts) -> None:
    scripts.run("other_list", code=1)
    assert "give fit a plain list of callbacks" in scripts.log


def test_evaluate_and_a_second_resume_are_no_fits(scripts) -> None:
    first = scripts.run("evaluated")
    assert len(first["history"][0]["loss"]) == 1
    assert scripts.run("evaluated") == first


@pytest.mark.parametrize("version", ["3.15.1", "4.0.1"])
def test_a_loss_that_is_not_finite_is_told_once(scripts, version) -> None:
    scripts.run("not_finite", version=version)
    assert scripts.log.count("the loss is nan") == 1
    assert "No checkpoint was saved while all was finite." in scripts.log


def test_a_call_over_is_not_trained_on(scripts) -> None:
    scripts.run("trained", kill=9, code=9)
    again = scripts.run("trained", epochs=6)
    assert "ended with epochs=4 and is not trained on" in scripts.log
    assert len(again["history"][0]["loss"]) == 4


@pytest.mark.parametrize("most", [2, 64])
def test_a_loop_of_fits(scripts, tmp_path_factory, most) -> None:
    from trainer.keras.conftest import Scripts

    first = Scripts(tmp_path_factory.mktemp("loop"))
    whole = first.run("many_fits", count=5, most=most)
    # Told when the first is dropped, not only to whoever needs it then.
    assert ("the models of the earliest are no longer kept" in first.log) == (most == 2)
    scripts.run("many_fits", count=5, most=most, kill=4, code=9)
    assert scripts.run("many_fits", count=5, most=most) == whole
    dropped = "the model at the end of this fit call is no longer kept"
    assert scripts.log.count(dropped) == (2 if most == 2 else 0)


def test_callbacks_of_users(scripts, tmp_path_factory) -> None:
    from trainer.keras.conftest import Scripts

    whole = Scripts(tmp_path_factory.mktemp("callbacks")).run("with_callbacks")
    scripts.run("with_callbacks", kill=4, code=9)
    assert "Strange keeps what cannot be saved (numbers)" in scripts.log
    assert "Counts keeps" not in scripts.log
    assert "Offers keeps" not in scripts.log
    resumed = scripts.run("with_callbacks")
    assert resumed == whole
    assert resumed["mine"]


@pytest.mark.parametrize("name", ["custom_loop_variables", "global_generators"])
def test_in_a_process_of_its_own(scripts, name) -> None:
    scripts.run(name)


def test_another_backend_is_refused() -> None:
    backends.check("tensorflow")
    with pytest.raises(RuntimeError, match="this is Keras on openvino: set KERAS_BACKEND, or use"):
        backends.check("openvino")


@pytest.mark.parametrize(
    ("version", "known"),
    [("3.15.0", True), ("3.15.1", True), ("3.16.0", False), ("3.9.2", False), ("x", False)],
)
def test_tested_versions(version, known) -> None:
    assert versions.tested(version) is known
