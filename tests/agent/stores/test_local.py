from __future__ import annotations

import io
from pathlib import Path

import pytest

from outlast_agent.stores.local import copy, whole_file


class Growing(io.BytesIO):
    """A file that somebody writes to as fast as it is read."""

    def read(self, size: int | None = -1, /) -> bytes:
        piece = super().read(size)
        here = self.tell()
        self.seek(0, io.SEEK_END)
        self.write(b"more" * 1000)
        self.seek(here)
        return piece


def test_a_file_that_grows_is_copied_as_it_was() -> None:
    source, target = Growing(b"x" * 3_000_000), io.BytesIO()
    copy(source, target)
    assert target.getvalue() == b"x" * 3_000_000


def test_a_file_that_shrinks_is_copied_as_far_as_it_goes(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x" * 3_000_000)
    target = io.BytesIO()
    with path.open("rb", buffering=0) as source:
        source.seek(0)
        path.write_bytes(b"x" * 1000)
        copy(source, target)  # type: ignore[arg-type]
    assert target.getvalue() == b"x" * 1000


def test_what_fails_halfway_leaves_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"before")

    def write_half() -> None:
        with whole_file(path) as file:
            file.write(b"half")
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        write_half()
    assert path.read_bytes() == b"before"
    assert [each.name for each in tmp_path.iterdir()] == ["file"]
