from __future__ import annotations

import os
import tarfile
import time
from pathlib import Path

import pytest

from outlast_provisioning import packing
from outlast_provisioning.packing import PackError, code_files, pack


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    code = tmp_path / "code"
    (code / "lib").mkdir(parents=True)
    (code / "train.py").write_text("print(1)\n")
    (code / "run.sh").write_text("#!/bin/sh\n")
    (code / "run.sh").chmod(0o755)
    (code / "lib" / "model.py").write_text("x = 1\n")
    return code


def names(folder: Path, **more: list[Path]) -> list[str]:
    return [name for name, _, _ in code_files(folder, **more)]


def test_the_same_content_gives_the_same_bytes(folder: Path, tmp_path: Path) -> None:
    first = pack(folder, tmp_path / "1.tar")
    for path in folder.rglob("*"):
        os.utime(path, (1, 1))
    (folder / "train.py").chmod(0o600)
    time.sleep(0.01)
    second = pack(folder, tmp_path / "2.tar")
    assert (first.sha256, first.size, first.files) == (second.sha256, second.size, 3)
    assert (tmp_path / "1.tar").read_bytes() == (tmp_path / "2.tar").read_bytes()
    (folder / "train.py").write_text("print(2)\n")
    assert pack(folder, tmp_path / "3.tar").sha256 != first.sha256


def test_unpacked_it_is_what_it_was(folder: Path, tmp_path: Path) -> None:
    pack(folder, tmp_path / "code.tar")
    with tarfile.open(tmp_path / "code.tar") as tar:
        tar.extractall(tmp_path / "out", filter="data")
    assert (tmp_path / "out" / "lib" / "model.py").read_text() == "x = 1\n"
    assert os.access(tmp_path / "out" / "run.sh", os.X_OK)
    assert not os.access(tmp_path / "out" / "train.py", os.X_OK)


def test_gitignore_is_respected_in_every_folder(folder: Path) -> None:
    (folder / ".gitignore").write_text("*.log\ndata/\n!keep.log\n/lib/*.tmp\n")
    for name in ("a.log", "keep.log", "data/x.bin", "lib/b.log", "lib/c.tmp", "c.tmp"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("x")
    (folder / "lib" / ".gitignore").write_text("!b.log\n*.md\n")
    (folder / "lib" / "d.md").write_text("x")
    assert names(folder) == [
        ".gitignore",
        "c.tmp",
        "keep.log",
        "lib/.gitignore",
        "lib/b.log",
        "lib/model.py",
        "run.sh",
        "train.py",
    ]


def test_what_is_nobodys_code_is_left_out(folder: Path) -> None:
    for name in (".git/HEAD", "__pycache__/a.pyc", ".outlast/x", "env/pyvenv.cfg", "store/jobs/x"):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("x")
    assert names(folder, without=[folder / "store"]) == ["lib/model.py", "run.sh", "train.py"]


def test_too_much_names_the_largest(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packing, "MAX_BYTES", 3_000_000)  # the limit, not a part of the machine
    (folder / "weights.bin").write_bytes(b"x" * 4_000_000)
    with pytest.raises(PackError, match=r"4 MB, at most 3 MB.*weights\.bin \(4 MB\).*\.gitignore"):
        code_files(folder)


def test_links_and_strange_files(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "shared.py").write_text("y = 2\n")
    (folder / "link.py").symlink_to(tmp_path / "shared.py")
    pack(folder, tmp_path / "code.tar")
    with tarfile.open(tmp_path / "code.tar") as tar:
        assert tar.getmember("link.py").isreg()
    (folder / "data").symlink_to(tmp_path)
    with pytest.raises(PackError, match="data is a link to a folder"):
        code_files(folder)
    (folder / "data").unlink()
    os.mkfifo(folder / "pipe")
    with pytest.raises(PackError, match="pipe is no file"):
        code_files(folder)
    (folder / "pipe").unlink()
    (folder / "gone").symlink_to("nowhere")
    with pytest.raises(PackError, match="No such file"):
        code_files(folder)


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(PackError, match="is not a folder"):
        code_files(tmp_path / "none")
