"""Killed at any system call of a save, or with a disk that is full or read-only: nothing torn is
ever loaded, and training goes on where a whole checkpoint is.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap

import numpy as np
import pytest

from outlast.checkpoint import checkpoints_in, load, load_newest
from outlast.retention import sweep

SCRIPT = """
    import sys
    from pathlib import Path
    import numpy as np
    from outlast.environment import Environment
    from outlast.run import Run
    from outlast.snapshot import Snapshot

    scratch, folder = Path(sys.argv[1]), Path(sys.argv[2])
    run = Run(Environment(scratch, folder, None, "test", attempt=1, rank=0, world_size=1))
    for step in range(1, 8):
        (folder / "log").write_bytes(bytes([step]) * (2 << 20))
        arrays = {"w": np.full(5000, step), "frozen": np.arange(5000)}
        run.save(Snapshot(step, {"step": step}, arrays))
        print(step, run.flush(20), flush=True)
"""

needs_strace = pytest.mark.needs("strace")
needs_mount = pytest.mark.needs("mount")


def whole(scratch):
    """The newest checkpoint is one whole step, and says so all through."""
    told = []
    loaded = load_newest(scratch, on_damaged=lambda id_, why: told.append(why))
    assert told == []  # a manifest that exists is always whole
    if loaded is None:
        return 0
    assert loaded.state == {"step": loaded.step}
    assert (loaded.arrays["w"] == loaded.step).all()
    assert (loaded.arrays["frozen"] == np.arange(5000)).all()
    return loaded.step


# Counted by strace for each thread: those that write objects, and the one that does the rest.
CALLS = [
    *(("mkdir", count) for count in (2, 3)),
    *(("write", count) for count in (1, 2, 4, 5, 7, 9, 12)),
    *(("pwrite64", count) for count in (1, 2, 3)),
    *(("ftruncate", count) for count in (1, 2)),
    *(("fsync", count) for count in (1, 2, 3, 4, 5, 7, 9)),
    *(("rename", count) for count in (1, 2, 3, 5, 6)),
    *(("unlink", count) for count in (1, 2, 4, 6)),
]


@pytest.fixture
def folders(tmp_path):
    for name in ("scratch", "outputs"):
        (tmp_path / name).mkdir()
    (tmp_path / "script.py").write_text(textwrap.dedent(SCRIPT))
    return tmp_path


def command(folders):
    return [
        sys.executable,
        str(folders / "script.py"),
        str(folders / "scratch"),
        str(folders / "outputs"),
    ]


def last_said(out):
    words = out.split()
    pairs = zip(words[::2], words[1::2], strict=False)
    return max((int(step) for step, ok in pairs if ok == "True"), default=0)


@needs_strace
@pytest.mark.parametrize(("call", "count"), CALLS)
def test_killed_at_a_system_call(folders, call, count):
    done = subprocess.run(
        [
            *("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}"),
            *("-e", f"inject={call}:signal=SIGKILL:when={count}"),
            *command(folders),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode in (137, -9), done.stderr
    scratch, said = folders / "scratch", last_said(done.stdout)
    assert whole(scratch) >= said
    # What was left half done goes at the next start, and that harms nothing.
    sweep(scratch, 2)
    assert whole(scratch) >= said
    assert not list(scratch.rglob(".*.tmp"))


@needs_strace
@pytest.mark.parametrize("error", ["ENOSPC", "EIO"])
@pytest.mark.parametrize(
    ("call", "count"), [("pwrite64", 2), ("fsync", 2), ("fsync", 5), ("rename", 5), ("fsync", 8)]
)
def test_a_call_that_fails(folders, call, count, error):
    done = subprocess.run(
        [
            *("strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}"),
            *("-e", f"inject={call}:error={error}:when={count}"),
            *command(folders),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    # Once in each thread that gets so far (one decides, four write), and each time one save fails
    # and is told.
    failed = done.stdout.count("False")
    assert 1 <= done.stderr.count("outlast: saving step") <= failed <= 5
    assert done.stdout.count("True") == 7 - failed
    said = last_said(done.stdout)
    assert whole(folders / "scratch") >= said
    for id_ in checkpoints_in(folders / "scratch"):
        load(folders / "scratch", id_)  # also the one that failed at its last call


@needs_mount
def test_a_full_disk_is_told_and_training_goes_on(folders):
    scratch = folders / "scratch"
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(scratch)],
        check=True,
    )
    try:
        done = subprocess.run(command(folders), capture_output=True, text=True, check=False)
        assert done.returncode == 0
        (line,) = done.stderr.splitlines()
        assert "No space left on device" in line
        assert "Make room there" in line
        assert whole(scratch) == 0
        assert not list(scratch.rglob(".*.tmp"))
        assert sum(path.stat().st_size for path in scratch.rglob("*") if path.is_file()) < 2e5
    finally:
        subprocess.run(["umount", str(scratch)], check=True)


@needs_mount
def test_a_read_only_folder_is_told_and_training_goes_on(place):
    script = place.script(
        """
        import outlast
        session = outlast.Session(every=0)
        for step in session.steps(50):
            session.state["x"] = step
        print("trained", session.steps_done)
        """
    )
    done = place.run(
        *("unshare", "--mount", "sh", "-c"),
        'mount --bind "$OUTLAST_SCRATCH" "$OUTLAST_SCRATCH" &&'
        'mount -o remount,ro,bind "$OUTLAST_SCRATCH" && exec "$@"',
        *("sh", sys.executable, script),
    )
    assert "trained 50" in done.stdout
    assert done.returncode == 0
    assert [note["code"] for note in place.notes()] == ["scratch-read-only"]
    assert place.end().outcome == "finished"
