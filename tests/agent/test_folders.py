"""Folders of an attempt are removed whatever modes the program left."""

from __future__ import annotations

import os
import subprocess
import sys

from outlast_agent.folders import AttemptFolders, Folders, remove_root, remove_tree

# Modes mean nothing to root, unless it gives up what lets it pass over them.
_FREE = "-dac_override,-dac_read_search"
BOUND = [] if os.geteuid() else ["setpriv", f"--bounding-set={_FREE}", f"--inh-caps={_FREE}"]

REMOVE = """
import sys
from pathlib import Path
from outlast_agent.folders import remove_tree
remove_tree(Path(sys.argv[1]))
"""


def test_closed_folders_are_removed_with_all_below_them(tmp_path):
    top = tmp_path / "top"
    modes = {"none": 0o000, "no reading": 0o300, "no writing": 0o500, "no entering": 0o600}
    for name, mode in modes.items():
        inner = top / name / name
        inner.mkdir(parents=True)
        (inner / "file").touch(mode=0o000)
        inner.chmod(mode)
        inner.parent.chmod(mode)
    (top / "link").symlink_to(tmp_path)
    done = subprocess.run(
        [*BOUND, sys.executable, "-c", REMOVE, str(top)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stderr == ""
    assert not top.exists()
    assert tmp_path.exists()


def test_a_tree_deeper_than_a_stack_is_removed(tmp_path):
    top = tmp_path / "top"
    top.mkdir()
    here = os.open(top, os.O_RDONLY)
    for _ in range(3000):  # longer than any path may be
        os.mkdir("deep", dir_fd=here)
        below = os.open("deep", os.O_RDONLY, dir_fd=here)
        os.close(here)
        here = below
    os.close(here)
    remove_tree(top)
    assert not top.exists()


def test_folders_are_made_anew(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "keep").touch()
    folders = AttemptFolders(tmp_path, "000001")
    folders.make()
    (folders.scratch / "planted").symlink_to(outside)
    (folders.outputs / "closed").mkdir(mode=0o500)
    folders.make()
    assert [path for path in folders.scratch.rglob("*") if not path.is_dir()] == []
    assert list(folders.outputs.iterdir()) == []
    assert (outside / "keep").exists()
    remove_tree(tmp_path / "nothing")


def test_what_is_in_another_place_goes_with_the_rest(tmp_path):
    elsewhere, root = tmp_path / "outlast-elsewhere", tmp_path / "root"
    elsewhere.mkdir()
    folders = Folders(root, "digits")
    folders.home.mkdir(parents=True)
    folders.place_link.symlink_to(elsewhere)
    old, own = folders.attempt(1), folders.attempt(2)
    old.make()
    own.make()
    assert own.scratch.is_relative_to(elsewhere)
    assert own.outputs.is_relative_to(root)
    assert [each.name for each in folders.others(2)] == [old.name]
    old.remove()
    assert folders.others(2) == []
    remove_root(root)
    assert not elsewhere.exists()
    assert not root.exists()
