"""Local disks are told by the names that clouds give them, and found where they are mounted."""

from __future__ import annotations

import pytest

from outlast_agent.scratch.local_disks import mounted

MOUNTS = """\
22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw
23 22 0:21 / /dev/shm rw - tmpfs tmpfs rw
24 22 8:17 / /mnt rw - ext4 /dev/sdb1 rw
25 22 8:17 /docker /var/lib/docker rw - ext4 /dev/sdb1 rw
26 22 9:0 / /fast\\040disk rw - xfs /dev/md0 rw
27 22 259:3 / /srv rw - ext4 /dev/nvme2n1 rw
"""


@pytest.fixture
def machine(tmp_path):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/mountinfo").write_text(MOUNTS)
    blocks = tmp_path / "sys/block"
    numbers = tmp_path / "sys/dev/block"
    numbers.mkdir(parents=True)
    for number, name in [
        ("8:1", "sda/sda1"), ("8:17", "sdb/sdb1"), ("9:0", "md0"),
        ("259:1", "nvme0n1"), ("259:2", "nvme1n1"), ("259:3", "nvme2n1"),
    ]:  # fmt: skip
        folder = blocks / name
        folder.mkdir(parents=True)
        if "/" in name:
            (folder / "partition").write_text("1\n")
        (numbers / number).symlink_to(folder)
    for name in ("nvme0n1", "nvme1n1"):
        slaves = blocks / "md0/slaves"
        slaves.mkdir(exist_ok=True)
        (slaves / name).symlink_to(blocks / name)
    return tmp_path


def name(machine, link, device):
    path = machine / "dev/disk" / link
    path.parent.mkdir(parents=True, exist_ok=True)
    (machine / "dev" / device).touch()
    path.symlink_to(machine / "dev" / device)


def test_a_machine_without(machine):
    assert mounted(machine) == []


@pytest.mark.parametrize("link", ["cloud/azure_resource", "azure/resource"])
def test_the_resource_disk_of_azure(machine, link):
    name(machine, link, "sdb")
    assert [str(each) for each in mounted(machine)] == ["/mnt"]


def test_only_its_partition_is_named(machine):
    name(machine, "cloud/azure_resource-part1", "sdb1")
    assert [str(each) for each in mounted(machine)] == ["/mnt"]


@pytest.mark.parametrize(
    "links",
    [
        ("azure/local/by-serial/a", "azure/local/by-serial/b"),
        ("by-id/nvme-Amazon_EC2_NVMe_Instance_Storage_AWS1_ns_1",
         "by-id/nvme-Amazon_EC2_NVMe_Instance_Storage_AWS2_ns_1"),
        ("by-id/google-local-nvme-ssd-0", "by-id/google-local-nvme-ssd-1"),
    ],
)  # fmt: skip
def test_several_that_are_one_volume(machine, links):
    name(machine, links[0], "nvme0n1")
    assert mounted(machine) == []  # the other one may be a disk that stays
    name(machine, links[1], "nvme1n1")
    assert [str(each) for each in mounted(machine)] == ["/fast disk"]


def test_this_machine():
    assert isinstance(mounted(), list)  # real tables are read without a fault
