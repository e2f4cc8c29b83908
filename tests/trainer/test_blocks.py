"""Files written in blocks: every byte at its place, and what goes wrong told."""

from __future__ import annotations

import errno
import os
import resource
import threading
import time
from pathlib import Path

import numpy as np
import pytest
import xxhash

from outlast.blocks import BlockFile, Blocks, create, set_direct

SIZE = 8192


@pytest.fixture
def blocks() -> Blocks:
    return Blocks(count=2, size=SIZE)


def opened(path: Path, blocks: Blocks, *, direct: bool) -> BlockFile:
    file = create(path)
    if direct:
        set_direct(file)
    return BlockFile(file, blocks)


def data(length: int) -> bytes:
    return np.random.default_rng(length).bytes(length)


@pytest.mark.parametrize("direct", [True, False])
@pytest.mark.parametrize("length", [0, 1, 4095, 4096, SIZE, SIZE + 1, 5 * SIZE + 4097])
def test_a_file_holds_what_was_written(tmp_path, blocks, length, direct) -> None:
    whole = data(length)
    file = opened(tmp_path / "file", blocks, direct=direct)
    for start in range(0, length, 3001):
        file.write(whole[start : start + 3001])
    assert file.end(fsync=True) == xxhash.xxh3_128_hexdigest(whole)
    file.settle()
    assert file.size == length
    assert (tmp_path / "file").read_bytes() == whole


def test_two_files_may_be_under_way(tmp_path, blocks) -> None:
    files = [opened(tmp_path / name, blocks, direct=True) for name in ("one", "two")]
    for number, file in enumerate(files):
        file.write(data(7 * SIZE + number))
        file.end(fsync=True)
    for number, file in enumerate(files):
        file.settle()
        assert (tmp_path / ("one", "two")[number]).read_bytes() == data(7 * SIZE + number)


def test_a_direct_write_that_is_refused_goes_through_the_page_cache(
    tmp_path, blocks, monkeypatch
) -> None:
    write, refused = os.pwrite, []

    def pwrite(file: int, part: bytes, at: int) -> int:
        if not refused:
            refused.append(at)
            raise OSError(errno.EINVAL, "Invalid argument")
        return write(file, part, at)

    monkeypatch.setattr(os, "pwrite", pwrite)
    file = opened(tmp_path / "file", blocks, direct=True)
    file.write(data(SIZE + 5))
    file.end(fsync=True)
    file.settle()
    assert refused == [0]
    assert (tmp_path / "file").read_bytes() == data(SIZE + 5)


@pytest.mark.parametrize("direct", [True, False])
def test_a_full_disk_is_told_and_no_block_is_lost(tmp_path, blocks, direct) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2 * SIZE, hard))  # Python ignores SIGXFSZ
    try:
        file = opened(tmp_path / "file", blocks, direct=direct)
        file.write(data(6 * SIZE))
        file.end(fsync=True)
        with pytest.raises(OSError, match="File too large"):
            file.settle()
        file.give_up()  # harmless, and hides nothing
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    again = opened(tmp_path / "again", blocks, direct=direct)
    again.write(data(6 * SIZE))
    again.end(fsync=True)
    again.settle()
    assert (tmp_path / "again").read_bytes() == data(6 * SIZE)


def test_a_file_that_is_given_up_gives_its_blocks_back(tmp_path, blocks) -> None:
    for number in range(5):
        file = opened(tmp_path / str(number), blocks, direct=True)
        file.write(data(SIZE + 5))
        file.give_up()
    assert blocks.take() is not blocks.take()


def test_threads_without_work_end_and_others_come(tmp_path, blocks, monkeypatch) -> None:
    monkeypatch.setattr("outlast.blocks.IDLE_SECONDS", 0.01)
    for number in range(3):
        file = opened(tmp_path / str(number), blocks, direct=True)
        file.write(data(5 * SIZE))
        file.end(fsync=False)
        file.settle()
        limit = time.monotonic() + 10
        while any(each.name == "outlast-blocks" for each in threading.enumerate()):
            assert time.monotonic() < limit
            time.sleep(0.01)
        assert (tmp_path / str(number)).read_bytes() == data(5 * SIZE)
