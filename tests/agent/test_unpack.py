"""Archives of others: nothing leaves the folder, nothing is without bound."""

from __future__ import annotations

import contextlib
import io
import random
import stat
import tarfile
import zipfile

import pytest

from outlast_agent.unpack import UnpackError, unpack

MB = 1 << 20


def tar(path, *members, mode="w"):
    with tarfile.open(path, mode) as archive:
        for name, content, more in members:
            info = tarfile.TarInfo(name)
            for key, value in more.items():
                setattr(info, key, value)
            if content is not None:
                info.size = len(content)
            archive.addfile(info, None if content is None else io.BytesIO(content))
    return path


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar(tmp_path, mode):
    archive = tar(
        tmp_path / "a.tar",
        ("run/", None, {"type": tarfile.DIRTYPE}),
        ("run/train.py", b"print(1)", {"mode": 0o4755, "uid": 5}),
        ("run/data/x.txt", b"x", {"mode": 0o600}),
        ("run/link", None, {"type": tarfile.SYMTYPE, "linkname": "data/x.txt"}),
        ("run/hard", None, {"type": tarfile.LNKTYPE, "linkname": "run/train.py"}),
        mode=mode,
    )
    unpack(archive, tmp_path / "out", limit=MB)
    out = tmp_path / "out/run"
    assert (out / "train.py").read_bytes() == b"print(1)"
    assert stat.S_IMODE((out / "train.py").stat().st_mode) == 0o755  # no setuid
    assert (out / "link").read_bytes() == b"x"
    assert (out / "hard").read_bytes() == b"print(1)"


def test_zip(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("cats/1.png", b"cat")
        archive.writestr("empty/", b"")
    unpack(tmp_path / "a.zip", tmp_path / "out", limit=MB)
    assert (tmp_path / "out/cats/1.png").read_bytes() == b"cat"
    assert (tmp_path / "out/empty").is_dir()


@pytest.mark.parametrize(
    ("members", "said"),
    [
        ([("../evil", b"x", {})], "leads out"),
        ([("a/../../evil", b"x", {})], "leads out"),
        ([("/etc/evil", b"x", {})], "leads out"),
        ([("link", None, {"type": tarfile.SYMTYPE, "linkname": "/etc/passwd"})], "leads out"),
        ([("link", None, {"type": tarfile.SYMTYPE, "linkname": "../out2"})], "leads out"),
        ([("hard", None, {"type": tarfile.LNKTYPE, "linkname": "../../etc/passwd"})], "leads out"),
        ([("a/l", None, {"type": tarfile.SYMTYPE, "linkname": "b/../../.."})], "leads out"),
        (
            [
                ("d", None, {"type": tarfile.SYMTYPE, "linkname": "."}),
                ("d/x", b"x", {}),
            ],
            "below a link",
        ),
        ([("pipe", None, {"type": tarfile.FIFOTYPE})], "no file, folder or link"),
        ([("dev", None, {"type": tarfile.CHRTYPE})], "no file, folder or link"),
        ([("a", b"1", {}), ("a", b"2", {})], "twice"),
        ([("big", b"x" * (MB + 1), {})], "more than"),
    ],
)
def test_what_is_not_unpacked(tmp_path, members, said):
    archive = tar(tmp_path / "a.tar", *members)
    with pytest.raises(UnpackError, match=said):
        unpack(archive, tmp_path / "in/out", limit=MB)
    outside = {path.name for path in tmp_path.rglob("*")} & {"evil", "out2"}
    assert outside == set()


def test_a_zip_bomb_by_its_own_word(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", b"\0" * (4 * MB))
    with pytest.raises(UnpackError, match="more than"):
        unpack(tmp_path / "a.zip", tmp_path / "out", limit=MB)


def test_a_zip_that_leads_out(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("../evil", b"x")
    with pytest.raises(UnpackError, match="leads out"):
        unpack(tmp_path / "a.zip", tmp_path / "out", limit=MB)


def test_damage_is_told(tmp_path):
    archive = tar(tmp_path / "a.tar", ("x", b"x" * 5000, {}), mode="w:gz")
    data = archive.read_bytes()
    archive.write_bytes(data[: len(data) // 2])
    with pytest.raises(UnpackError, match=r"a\.tar cannot be unpacked"):
        unpack(archive, tmp_path / "out", limit=MB)
    archive.write_bytes(b"nonsense")
    with pytest.raises(UnpackError):
        unpack(archive, tmp_path / "out2", limit=MB)


@pytest.mark.parametrize("form", ["gz", "bz2", "xz", "zip"])
def test_damage_in_the_middle_is_told_too(tmp_path, form):
    content = random.Random(1).randbytes(20_000)
    path = tmp_path / f"a.{form}"
    if form == "zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr("x", content)
    else:
        tar(path, ("x", content, {}), mode=f"w:{form}")
    whole = path.read_bytes()
    for place in range(100, len(whole) - 100, 997):
        path.write_bytes(whole[:place] + bytes(40) + whole[place + 40 :])
        with contextlib.suppress(UnpackError):  # some damage nobody can see in a tar
            unpack(path, tmp_path / f"out{place}", limit=MB)


def test_a_hard_link_to_a_link_would_lead_out_from_elsewhere(tmp_path):
    archive = tar(
        tmp_path / "a.tar",
        ("a/b/up", None, {"type": tarfile.SYMTYPE, "linkname": "../../x"}),
        ("top", None, {"type": tarfile.LNKTYPE, "linkname": "a/b/up"}),
    )
    with pytest.raises(UnpackError, match="a hard link to no file"):
        unpack(archive, tmp_path / "out", limit=MB)
