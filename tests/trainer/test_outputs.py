"""The outputs folder is taken with a checkpoint and brought back byte for byte."""

from __future__ import annotations

import os
import shutil
import sys
import time

import numpy as np
import pytest

from outlast.checkpoint import DamagedError, load_newest
from outlast.outputs import Outputs, restore_outputs
from outlast.writer import Save, Writer

MB = 1 << 20


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "outputs"
    path.mkdir()
    return path


@pytest.fixture
def scratch(tmp_path):
    path = tmp_path / "scratch"
    path.mkdir()
    return path


class Saver:
    def __init__(self, scratch, folder):
        self.writer = Writer(scratch, job="test", attempt=1)
        self.outputs = Outputs(folder, spool=scratch)
        self.scratch, self.folder = scratch, folder

    def save(self, step, then=lambda: None, *, still=False):
        capture = self.outputs.capture(still=still)
        then()  # training goes on before the writer comes to it
        self.writer.submit(
            Save(step, "cadence", None, {}, files=capture.files, release=capture.release)
        )
        return self.writer.flush(10)

    def restore(self):
        restore_outputs(self.scratch, load_newest(self.scratch).manifest, self.folder)


@pytest.fixture
def saver(scratch, folder):
    return Saver(scratch, folder)


def contents(folder):
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }


def noise(size):
    return np.random.default_rng(size).bytes(size)


def test_the_folder_is_as_it_was_at_that_step(saver, folder):
    (folder / "log.csv").write_text("epoch,loss\n0,1.0\n")
    (folder / "best.keras").write_bytes(noise(3 * MB))
    (folder / "tb" / "train").mkdir(parents=True)
    (folder / "tb" / "train" / "events").write_bytes(noise(9 * MB))
    (folder / "empty").write_bytes(b"")
    before = contents(folder)
    assert saver.save(1)

    with (folder / "log.csv").open("a") as file:
        file.write("1,0.5\n")
    (folder / "best.keras").write_bytes(noise(2 * MB))
    (folder / "empty").unlink()
    (folder / "later" / "inside").mkdir(parents=True)
    (folder / "later" / "inside" / "new").write_text("new")
    saver.restore()
    assert contents(folder) == before
    assert not (folder / "later").exists()


@pytest.mark.parametrize("size", [100, 5 * MB])
def test_what_is_written_after_the_snapshot_is_not_in_it(saver, folder, size):
    path = folder / "log"
    path.write_bytes(noise(size))

    def append():
        with path.open("ab") as file:
            file.write(b"later")

    assert saver.save(1, then=append)
    saver.restore()
    assert path.read_bytes() == noise(size)


def test_a_file_that_changes_while_it_is_read_is_never_saved_torn(saver, folder):
    path = folder / "old"
    path.write_bytes(noise(5 * MB))
    long_ago = time.time() - 100
    os.utime(path, (long_ago, long_ago))
    assert not saver.save(1, then=lambda: path.write_bytes(noise(4 * MB)))
    assert load_newest(saver.scratch) is None
    assert saver.save(2)


@pytest.mark.parametrize("keep", [0, 100])
def test_a_file_that_shrinks_or_goes_meanwhile_is_never_saved_torn(saver, folder, keep):
    path = folder / "old"
    path.write_bytes(noise(5 * MB))
    long_ago = time.time() - 100
    os.utime(path, (long_ago, long_ago))
    change = path.unlink if keep == 0 else lambda: os.truncate(path, keep)
    assert not saver.save(1, then=change)
    assert not list(saver.scratch.rglob("objects/*/*"))
    assert saver.save(2)


def test_unchanged_files_are_not_read_again(saver, folder, monkeypatch):
    for name in "abc":
        (folder / name).write_bytes(noise(3 * MB))
    time.sleep(0.15)
    assert saver.save(1)
    (folder / "b").write_bytes(noise(2 * MB))
    opened = []
    real = os.open

    def counting(path, *args, **kwargs):  # patched: to see that nothing is read
        opened.append(path)
        return real(path, *args, **kwargs)

    monkeypatch.setattr(os, "open", counting)
    capture = saver.outputs.capture()
    monkeypatch.undo()
    assert "a" not in opened
    assert "b" in opened
    assert [file.contents is None for file in capture.files] == [False, True, False]
    saver.writer.submit(Save(2, "cadence", None, {}, files=capture.files, release=capture.release))
    assert saver.writer.flush(10)
    assert saver.writer.saved.bytes <= 2 * MB
    before = contents(folder)
    (folder / "c").unlink()
    saver.restore()
    assert contents(folder) == before


def test_files_that_change_with_every_save(saver, folder):
    for step in range(1, 7):
        (folder / "log.csv").write_text(f"{step}\n" * 1000 * step)
        (folder / "model").write_bytes(bytes([step]) * 5_000_000)
        time.sleep(0.15)  # what was just written is read again in any case
        assert saver.save(step)
    assert saver.writer.failed is None
    before = contents(folder)
    shutil.rmtree(folder)
    saver.restore()
    assert contents(folder) == before


def test_whoever_cannot_take_in_what_was_saved_does_not_stop_the_writer(saver):
    def release(written):
        raise KeyError("a fault in here")

    saver.writer.submit(Save(1, "cadence", None, {}, release=release))
    assert not saver.writer.flush(10)
    assert isinstance(saver.writer.failed, KeyError)
    saver.writer.submit(Save(2, "cadence", None, {}))
    assert saver.writer.flush(10)


def test_a_change_that_keeps_size_and_time_is_seen(saver, folder):
    path = folder / "a"
    path.write_bytes(b"one")
    found = path.stat()
    time.sleep(0.15)
    assert saver.save(1)
    path.write_bytes(b"two")
    os.utime(path, ns=(found.st_atime_ns, found.st_mtime_ns))
    assert saver.save(2)
    path.unlink()
    saver.restore()
    assert path.read_bytes() == b"two"


def test_a_file_just_written_is_not_trusted_to_be_unchanged(saver, folder):
    """A second write within the clock's tick leaves every stamp as it was."""
    (folder / "a").write_bytes(b"one")
    assert saver.save(1)
    assert saver.outputs.capture().files[0].contents is None


def test_nothing_is_left_beside(saver, folder, scratch):
    (folder / "big").write_bytes(noise(3 * MB))
    assert saver.save(1)
    assert not list(scratch.glob(".outputs*"))
    capture = saver.outputs.capture()
    capture.release(None)
    assert not list(scratch.glob(".outputs*"))


def test_links_are_neither_taken_nor_followed(saver, folder, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_text("secret")
    (folder / "sub").mkdir()
    (folder / "sub" / "file").write_text("mine")
    (folder / "link").symlink_to(outside)
    os.mkfifo(folder / "pipe")
    assert saver.save(1)
    assert saver.outputs.left_out == {"link", "pipe"}
    manifest = load_newest(saver.scratch).manifest
    assert [file.path for file in manifest.outputs] == ["sub/file"]

    # The container puts a link where a folder of the checkpoint should be.
    (folder / "sub" / "file").unlink()
    (folder / "sub").rmdir()
    (folder / "sub").symlink_to(outside)
    saver.restore()
    assert contents(folder) == {"sub/file": b"mine"}
    assert contents(outside) == {"secret": b"secret"}
    assert not (folder / "link").is_symlink()


def test_a_folder_in_a_files_place_and_a_file_in_a_folders(saver, folder):
    (folder / "a").write_text("a")
    (folder / "b").mkdir()
    (folder / "b" / "c").write_text("c")
    assert saver.save(1)
    before = contents(folder)
    (folder / "a").unlink()
    (folder / "a" / "deep").mkdir(parents=True)
    (folder / "a" / "deep" / "x").write_text("x")
    (folder / "b" / "c").unlink()
    (folder / "b").rmdir()
    (folder / "b").write_text("b")
    saver.restore()
    assert contents(folder) == before


def test_a_damaged_object_changes_nothing(saver, folder, scratch):
    (folder / "a").write_text("a")
    assert saver.save(1)
    manifest = load_newest(scratch).manifest
    (folder / "a").write_text("b")
    (scratch / manifest.objects[0].key).write_text("x")
    with pytest.raises(DamagedError):
        restore_outputs(scratch, manifest, folder)
    assert (folder / "a").read_text() == "b"


def test_a_checkpoint_without_outputs_empties_the_folder(saver, folder):
    assert saver.save(1)
    (folder / "a").write_text("a")
    saver.restore()
    assert contents(folder) == {}


def test_outputs_come_back_without_a_daemon(place):
    script = place.script(
        """
        import outlast, os, sys, time
        session = outlast.Session(folder=sys.argv[1], outputs=sys.argv[2], every=0)
        log = open(sys.argv[2] + "/log.csv", "a")
        for step in session.steps(6):
            log.write(f"{step}\\n"); log.flush()
            time.sleep(0.05)
            if step == 3 and not session.restored:
                os.kill(os.getpid(), 9)
        """
    )
    names = ("OUTLAST_SCRATCH", "OUTLAST_CONTROL", "OUTLAST_OUTPUTS", "OUTLAST_ATTEMPT")
    environ = dict.fromkeys(names, "")

    arguments = (sys.executable, script, place.root / "saves", place.root / "out")
    killed = place.run(*arguments, **environ)
    assert killed.returncode == -9, killed.stderr
    done = place.run(*arguments, **environ)
    assert done.returncode == 0, done.stderr
    assert (place.root / "out" / "log.csv").read_text() == "0\n1\n2\n3\n4\n5\n"


def test_an_outputs_folder_that_holds_the_script_is_refused(place):
    script = place.script("import outlast, sys; outlast.Session(outputs=sys.argv[1])")

    names = ("OUTLAST_SCRATCH", "OUTLAST_CONTROL", "OUTLAST_OUTPUTS", "OUTLAST_ATTEMPT")
    done = place.run(sys.executable, script, place.root, **dict.fromkeys(names, ""))
    assert done.returncode == 1
    assert "give a folder of its own" in done.stderr.splitlines()[-1]
