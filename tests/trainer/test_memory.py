"""How much memory may still be taken."""

from __future__ import annotations

from pathlib import Path

from outlast import memory


def put(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)


def test_the_least_of_machine_and_control_groups(tmp_path: Path) -> None:
    put(tmp_path, {"proc/meminfo": "MemTotal: 9 kB\nMemAvailable:   4000 kB\n"})
    assert memory.available(tmp_path) == 4000 << 10
    inside = "sys/fs/cgroup/a/b"
    put(
        tmp_path,
        {
            "proc/self/cgroup": "0::/a/b\n",
            f"{inside}/memory.max": "max\n",
            f"{inside}/memory.current": "5000\n",
            "sys/fs/cgroup/a/memory.max": "900000\n",
            "sys/fs/cgroup/a/memory.current": "600000\n",
            "sys/fs/cgroup/a/memory.stat": "anon 1\ninactive_file 60000\nactive_file 40000\n",
        },
    )
    assert memory.available(tmp_path) == 400_000


def test_of_a_container_that_sees_the_machines_path(tmp_path: Path) -> None:
    put(
        tmp_path,
        {
            "proc/self/cgroup": "12:cpu:/docker/x\n9:memory:/docker/x\n0::/docker/x\n",
            "proc/meminfo": "MemAvailable: 4000 kB\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "1000\n",
            "sys/fs/cgroup/memory/memory.usage_in_bytes": "700\n",
            "sys/fs/cgroup/memory/memory.stat": "inactive_file 7\ntotal_inactive_file 50\n",
        },
    )
    assert memory.available(tmp_path) == 350  # its own and what is below count


def test_where_nothing_can_be_told(tmp_path: Path) -> None:
    assert memory.available(tmp_path) is None
