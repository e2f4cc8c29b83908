"""What the program says: read as hostile, bounded, and always fit to be told on."""

from __future__ import annotations

import json
import os

from outlast.progress import (
    Announcement,
    End,
    Note,
    Progress,
    append_note,
    write_announcement,
    write_end,
    write_progress,
)
from outlast_agent import records
from outlast_agent.control import MAX_NOTES, Control


def test_what_the_program_says(tmp_path):
    control = Control(tmp_path)
    assert control.read().progress is None
    write_announcement(tmp_path, Announcement(1, "0.1"))
    write_progress(tmp_path, Progress(step=4, phase="training"))
    append_note(tmp_path, Note("warning", "shuffle-unseeded", "give it a seed"))
    write_end(tmp_path, End("yielded", 4))
    said = control.read()
    assert (said.announced, said.progress.step, said.end) == (True, 4, End("yielded", 4))
    assert said.notes == (Note("warning", "shuffle-unseeded", "give it a seed"),)
    assert control.read().notes == ()
    assert Control(tmp_path, notes_told=1).read().notes == ()  # a restarted daemon


def test_hostile_words(tmp_path):
    secret = tmp_path / "secret"
    secret.write_text('{"outcome": "finished", "step": 1}')
    control = tmp_path / "control"
    control.mkdir()
    (control / "end.json").symlink_to(secret)
    said = Control(control).read()
    assert said.end is None
    assert "cannot be read" in said.problem
    (control / "end.json").unlink()
    (control / "end.json").write_text('{"outcome": "finished", "step": -1}')
    assert Control(control).read().problem is not None
    (control / "end.json").unlink()
    os.mkfifo(control / "progress.json")
    assert Control(control).read().problem is not None
    (control / "progress.json").unlink()
    (control / "progress.json").write_bytes(b"x" * (1 << 20))
    assert Control(control).read().problem is not None


def test_notes_are_bounded_and_checked(tmp_path):
    lines = [{"level": "info", "code": "c", "text": "t" * 5000}] * (MAX_NOTES + 50)
    bad = ["nonsense", "[1]", '{"level": "loud", "code": "c", "text": "t"}', "null"]
    text = "\n".join(bad + [json.dumps(line) for line in lines]) + "\nhalf"
    (tmp_path / "notes.jsonl").write_text(text)
    control = Control(tmp_path)
    found = [note for _ in range(5) for note in control.read().notes]
    assert 0 < len(found) <= MAX_NOTES
    assert all(len(note.text) <= 2000 for note in found)
    (tmp_path / "notes.jsonl").unlink()
    (tmp_path / "notes.jsonl").symlink_to("/etc/passwd")
    assert Control(tmp_path).read().notes == ()


def test_what_the_program_says_always_fits_a_record(tmp_path):
    """A beat or an event that cannot be written would end the daemon, again and again."""
    notes = '{"level": "info", "code": "\\ud800", "text": "half \\udc00 a character"}\n'
    (tmp_path / "notes.jsonl").write_text(notes)
    metrics = '{"loss": NaN, "peak": Infinity, "mae": 0.5, "\\ud800": 1}'
    (tmp_path / "progress.json").write_text(f'{{"step": 4, "metrics": {metrics}}}')
    said = Control(tmp_path).read()
    assert [note.text for note in said.notes] == ["half ? a character"]
    assert said.progress.metrics == {"mae": 0.5, "?": 1.0}
    event = records.Event(source="library", kind=said.notes[0].code, text=said.notes[0].text)
    assert records.load(records.Event, records.dump(event), key="k") == event
    huge = "1" + "0" * 400
    for value in (f'"save_bytes": {huge}', '"step_seconds": Infinity', '"save_seconds": NaN'):
        (tmp_path / "progress.json").write_text(f'{{"step": 4, {value}}}')
        said = Control(tmp_path).read()
        assert said.progress is None
        assert "out of range" in said.problem
    (tmp_path / "progress.json").unlink()
    (tmp_path / "end.json").write_text(f'{{"outcome": "finished", "step": {huge}}}')
    assert "out of range" in Control(tmp_path).read().problem
