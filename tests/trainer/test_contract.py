"""What crosses the boundary between daemon and program, read as hostile."""

from __future__ import annotations

import contextlib
import json
import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outlast.durable import create_file, make_folder, read_json, replace_file, replace_json
from outlast.environment import read_environment
from outlast.notice import Notice, clear_notice, read_notice, write_notice
from outlast.progress import (
    Announcement,
    End,
    Note,
    Progress,
    append_note,
    read_announcement,
    read_end,
    read_progress,
    write_announcement,
    write_end,
    write_progress,
)

READERS = {
    "notice.json": read_notice,
    "announce.json": read_announcement,
    "progress.json": read_progress,
    "end.json": read_end,
}


def test_everything_comes_back(tmp_path):
    notice = Notice("event-1", "preempt", 29.5, 1234.5, "2026-11-21T03:00:00Z")
    write_notice(tmp_path, notice)
    assert read_notice(tmp_path) == notice
    assert (notice.left(1230.0), notice.left(2000.0)) == (4.5, 0.0)
    clear_notice(tmp_path)
    assert read_notice(tmp_path) is None
    clear_notice(tmp_path)
    announcement = Announcement(7, "0.1.0")
    write_announcement(tmp_path, announcement)
    assert read_announcement(tmp_path) == announcement
    progress = Progress(
        512, "validation", 500, 0.1, 0.02, 1000, 256, 3, 5, {"loss": 0.5}, 9.5, 0.01, 0.2, 513, 0.3,
        save_every=12.0,
    )  # fmt: skip
    write_progress(tmp_path, progress)
    assert read_progress(tmp_path) == progress
    write_end(tmp_path, End("yielded", 512))
    assert read_end(tmp_path) == End("yielded", 512)
    for name, read in READERS.items():
        (tmp_path / name).unlink(missing_ok=True)
        assert read(tmp_path) is None


anything = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=6,
)
FIELDS = sorted(
    {"id", "reason", "seconds_left", "deadline_monotonic", "deadline", "pid", "library", "outcome"}
    | {"step", "phase", "saved_step", "step_seconds", "metrics", "epoch", "at_monotonic"}
)


@settings(deadline=None)
@given(anything | st.dictionaries(st.sampled_from(FIELDS), anything) | st.binary())
@pytest.mark.parametrize("name", READERS)
def test_whatever_lies_there_only_value_error_is_raised(name, value):
    data = value if isinstance(value, bytes) else json.dumps(value).encode()
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(data)
        with contextlib.suppress(ValueError):
            READERS[name](Path(folder))


HOSTILE = {
    "deep": b"[" * 100_000 + b"]" * 100_000,
    "huge": json.dumps(dict.fromkeys(FIELDS, 10**400)).encode(),
    "huge metric": b'{"step": 1, "metrics": {"loss": 1' + b"0" * 400 + b"}}",
    "infinite": json.dumps({**dict.fromkeys(FIELDS, 1), "seconds_left": float("inf")}).encode(),
    "empty": b"",
    "not text": b"\xff\xfe",
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("what", HOSTILE)
def test_hostile_values(tmp_path, name, what):
    (tmp_path / name).write_bytes(HOSTILE[what])
    with contextlib.suppress(ValueError):
        READERS[name](tmp_path)


@pytest.mark.parametrize("name", READERS)
def test_links_pipes_folders_and_floods_are_refused(tmp_path, name):
    path = tmp_path / name
    path.symlink_to("/etc/passwd")
    with pytest.raises(OSError, match="symbolic"):
        READERS[name](tmp_path)
    path.unlink()
    os.mkfifo(path)  # a reader that waits for a writer would hang here
    with pytest.raises(OSError, match="not a regular file"):
        READERS[name](tmp_path)
    path.unlink()
    path.mkdir()
    with pytest.raises(OSError, match=r"regular file|directory"):
        READERS[name](tmp_path)
    path.rmdir()
    path.write_bytes(b" " * (2 << 20))
    with pytest.raises(ValueError, match="longer than"):
        READERS[name](tmp_path)


def test_notes_are_lines_whatever_they_say(tmp_path):
    append_note(tmp_path, Note("warning", "a", "one\ntwo"))
    append_note(tmp_path, Note("error", "b", "x" * 10_000))
    lines = [json.loads(line) for line in (tmp_path / "notes.jsonl").read_text().splitlines()]
    assert [line["code"] for line in lines] == ["a", "b"]
    assert len(lines[1]["text"]) == 2000


def test_files_are_whole_or_absent(tmp_path):
    path = tmp_path / "file"
    replace_file(path, b"one")
    replace_file(path, b"two")
    assert path.read_bytes() == b"two"
    with pytest.raises(FileExistsError):
        create_file(path, b"three")
    create_file(tmp_path / "new", b"four")
    assert {entry.name for entry in tmp_path.iterdir()} == {"file", "new"}
    with pytest.raises(OSError, match="directory"):
        replace_file(tmp_path / "not-there" / "file", b"")
    (tmp_path / "folder").mkdir()
    with pytest.raises(IsADirectoryError):
        replace_file(tmp_path / "folder", b"")
    assert {entry.name for entry in tmp_path.iterdir()} == {"file", "new", "folder"}
    make_folder(tmp_path / "a" / "b" / "c")
    make_folder(tmp_path / "a" / "b" / "c")
    replace_json(path, {"a": 1})
    assert read_json(path) == {"a": 1}
    with pytest.raises(ValueError, match="Out of range"):
        replace_json(path, float("nan"))


def test_the_environment_of_a_daemon():
    env = read_environment(
        {
            "OUTLAST_SCRATCH": "/s",
            "OUTLAST_OUTPUTS": "/o",
            "OUTLAST_CONTROL": "/c",
            "OUTLAST_JOB": "digits",
            "OUTLAST_ATTEMPT": "3",
            "OUTLAST_EVERY": "12.5",
            "OUTLAST_EXACT": "strict",
            "RANK": "1",
            "WORLD_SIZE": "2",
        },
        script=Path("/x/train.py"),
    )
    assert (str(env.scratch), str(env.outputs), str(env.control)) == ("/s", "/o", "/c")
    assert (env.job, env.attempt, env.rank, env.world_size) == ("digits", 3, 1, 2)
    assert (env.every, env.strict, env.managed) == (12.5, True, True)


def test_the_environment_of_a_person(tmp_path):
    env = read_environment({}, script=tmp_path / "train.py")
    assert env.scratch == tmp_path / ".outlast" / "train"
    assert (env.outputs, env.control, env.job, env.attempt) == (None, None, "local", 0)
    assert (env.rank, env.world_size, env.every, env.strict) == (0, 1, None, False)
    assert not env.managed


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("OUTLAST_ATTEMPT", "first"),
        ("RANK", "-1"),
        ("WORLD_SIZE", "2.5"),
        ("OUTLAST_EVERY", "soon"),
        ("OUTLAST_EVERY", "-1"),
        ("OUTLAST_EVERY", "nan"),
    ],
)
def test_a_wrong_number_is_named(name, value):
    with pytest.raises(ValueError, match=f"{name} must be"):
        read_environment({name: value}, script=Path("train.py"))
