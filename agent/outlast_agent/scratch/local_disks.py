"""The disks that are part of the machine and end with it, as far as they are mounted.

Clouds give them names of their own below ``/dev/disk``: Azure's resource disk by the agent's or
cloud-init's udev rules, its local NVMe disks by azure-vm-utils', EC2's instance store by the
model's name, Google's local SSDs by its guest environment's.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

NAMES = (
    "azure/resource*",
    "azure/local/by-*/*",
    "cloud/azure_resource*",
    "by-id/*Microsoft_NVMe_Direct_Disk*",
    "by-id/*Amazon_EC2_NVMe_Instance_Storage*",
    "by-id/google-local-*",
)
"""Globs below ``/dev/disk``."""

_FILE_SYSTEMS = {"ext4", "ext3", "xfs", "btrfs"}


def mounted(root: Path = Path("/")) -> list[Path]:
    """Where local disks are mounted, each once; ``root`` is where ``dev``, ``proc``, ``sys`` are.

    A volume over several disks (RAID, LVM) counts when all of them are local.
    """
    names = root / "dev/disk"
    local = {
        path.resolve().name for glob in NAMES for path in names.glob(glob) if path.is_symlink()
    }
    if not local:
        return []
    found: dict[str, Path] = {}
    for number, at, kind in mounts(root):
        if kind in _FILE_SYSTEMS and number not in found:
            device = root / "sys/dev/block" / number
            if device.exists() and _is_local(device.resolve(), local):
                found[number] = Path(at)
    return list(found.values())


def _is_local(device: Path, local: set[str]) -> bool:
    """Whether the block device (its folder in sysfs) is one of ``local``, or made of such."""
    if device.name in local:
        return True
    if (device / "partition").exists():
        return device.parent.name in local
    below = list((device / "slaves").glob("*"))
    return bool(below) and all(_is_local(each.resolve(), local) for each in below)


def mounts(root: Path = Path("/")) -> list[tuple[str, str, str]]:
    """Device number, mount point and kind of whole file systems (proc(5), mountinfo)."""
    found = []
    for line in (root / "proc/self/mountinfo").read_bytes().splitlines():
        fields = line.split()
        end = fields.index(b"-")
        if fields[3] == b"/":  # not a folder that is mounted elsewhere
            at = os.fsdecode(re.sub(rb"\\(\d{3})", _character, fields[4]))
            found.append((fields[2].decode(), at, fields[end + 1].decode()))
    return found


def _character(octal: re.Match[bytes]) -> bytes:
    return bytes([int(octal[1], 8)])
