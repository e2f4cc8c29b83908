"""The Docker runtime on a real engine."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import time
from dataclasses import replace
from pathlib import Path

import docker
import pytest

from agent.docker.docker_kit import python, run, start_elsewhere, wait_for
from outlast_agent.runtimes import metadata_block
from outlast_agent.runtimes.base import CannotStartError, Exit, TryAgainError, Work
from outlast_agent.runtimes.docker import DockerRuntime
from outlast_agent.spec import ResourceSpec

pytestmark = [pytest.mark.needs("docker", "sklearn-image"), pytest.mark.usefixtures("patience")]


def test_an_engine_that_does_not_answer(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, work: Work
) -> None:
    monkeypatch.setenv("DOCKER_HOST", f"unix://{tmp_path}/none.sock")
    with pytest.raises(TryAgainError, match="see that Docker runs"):
        DockerRuntime().adopt(work)


def test_what_the_container_sees(runtime: DockerRuntime, work: Work, folders: Path) -> None:
    script = """
import json, os, pathlib
def writable(path):
    try:
        (pathlib.Path(path) / "x").write_text("from inside")
    except OSError as error:
        return error.strerror
    return True
lines = open("/proc/self/status").read().splitlines()
status = dict(line.split(":\\t", 1) for line in lines if ":\\t" in line)
print(json.dumps({
    "env": {k: v for k, v in os.environ.items() if k.startswith(("OUTLAST", "MY"))},
    "writable": {k: writable("/outlast/" + k) for k in ("scratch", "outputs", "control", "code")},
    "input": open("/data/in.txt").read(), "input writable": writable("/data"),
    "cwd": os.getcwd(), "code": os.listdir(),
    "caps": [status["CapEff"], status["CapBnd"], status["NoNewPrivs"]],
    "socket": os.path.exists("/var/run/docker.sock"),
    "interfaces": sorted(os.listdir("/sys/class/net")),
    "shm": os.statvfs("/dev/shm").f_blocks * os.statvfs("/dev/shm").f_frsize,
    "uid": os.getuid(),
}))
"""
    (folders / "code" / "train.py").write_text(script)
    (folders / "inputs").mkdir()
    (folders / "inputs" / "in.txt").write_text("cats")
    work = replace(
        work,
        env={"MY": "own", "OUTLAST_JOB": "not this"},
        inputs=((folders / "inputs", "/data"),),
        resources=ResourceSpec(cpus=1.0, memory_bytes=256 << 20, shm_bytes=8 << 20),
    )
    assert run(runtime, work, "python3", "train.py") == Exit(0)
    seen = json.loads(work.log.read_text())
    assert seen["env"] == {
        "MY": "own",
        "OUTLAST_ATTEMPT": "1",
        "OUTLAST_CONTROL": "/outlast/control",
        "OUTLAST_JOB": "digits",
        "OUTLAST_OUTPUTS": "/outlast/outputs",
        "OUTLAST_SCRATCH": "/outlast/scratch",
    }
    read_only = "Read-only file system"
    assert seen["writable"] == {
        "scratch": True,
        "outputs": True,
        "control": True,
        "code": read_only,
    }
    assert (folders / "outputs" / "x").read_text() == "from inside"
    assert (seen["input"], seen["input writable"]) == ("cats", read_only)
    assert (seen["cwd"], seen["code"]) == ("/outlast/code", ["train.py"])
    assert seen["caps"] == ["0" * 16, "0" * 16, "1"]
    assert seen["socket"] is False
    assert seen["interfaces"] == ["eth0", "lo"]
    assert seen["shm"] == 8 << 20
    assert seen["uid"] == folders.joinpath("scratch").stat().st_uid


def test_exit_codes(runtime: DockerRuntime, work: Work) -> None:
    assert run(runtime, work, "sh", "-c", "exit 75") == Exit(75)
    assert run(runtime, work, "sh", "-c", "kill -9 $$") == Exit(137)
    assert run(runtime, work, "no-such-command").code == 127
    assert "no-such-command" in work.log.read_text()
    assert run(runtime, work, "/etc/passwd").code == 126


def test_out_of_memory_is_seen(runtime: DockerRuntime, work: Work) -> None:
    work = replace(work, resources=ResourceSpec(memory_bytes=64 << 20))
    end = run(runtime, work, *python("x = bytearray(1 << 30)"))
    assert (end.code, end.out_of_memory) == (137, True)


def test_a_gpu_that_is_not_there_is_told(
    runtime: DockerRuntime, engine: docker.DockerClient, work: Work
) -> None:
    if "nvidia" in engine.info().get("Runtimes", {}):
        pytest.skip("this engine has GPUs")
    with pytest.raises(CannotStartError, match=r"cannot give the job 1 GPUs.*resources\.gpus"):
        runtime.start(replace(work, resources=ResourceSpec(gpus=1)))
    filters = {"label": f"outlast.machine={work.machine}"}
    assert engine.containers.list(all=True, ignore_removed=True, filters=filters) == []


@pytest.mark.parametrize("network", ["host", "container:other"])
def test_it_has_its_own_network(runtime: DockerRuntime, work: Work, network: str) -> None:
    with pytest.raises(CannotStartError, match="not the container's own"):
        runtime.start(replace(work, network=network))


def test_sigterm_reaches_the_command_alone(runtime: DockerRuntime, work: Work) -> None:
    script = """
import signal, subprocess, sys, time
child = subprocess.Popen([sys.executable, "-u", "-c", '''
import signal, time
signal.signal(signal.SIGTERM, lambda *a: print("the child was told", flush=True))
print("child", flush=True); time.sleep(60)'''])
def told(*arguments):
    print("told", child.poll(), flush=True); time.sleep(0.3); sys.exit(75)
signal.signal(signal.SIGTERM, told)
time.sleep(60)
"""
    running = runtime.start(replace(work, command=python(script)))
    wait_for(lambda: "child" in work.log.read_text())
    assert runtime.wait(running, 0.05) is None
    runtime.terminate(running)
    assert runtime.wait(running, 20) == Exit(75)
    # The child was left running: it ended with the container.
    assert work.log.read_text() == "child\ntold None\n"
    runtime.terminate(running)
    runtime.kill(running)
    runtime.remove(running)
    runtime.remove(running)
    runtime.terminate(running)


def test_a_program_without_a_handler_ends_at_sigterm(runtime: DockerRuntime, work: Work) -> None:
    running = runtime.start(replace(work, command=("sleep", "60")))
    runtime.terminate(running)
    assert runtime.wait(running, 20) == Exit(143)


def test_kill(runtime: DockerRuntime, work: Work) -> None:
    script = "import signal, time; signal.signal(15, signal.SIG_IGN); print(1); time.sleep(60)"
    running = runtime.start(replace(work, command=python(script)))
    wait_for(lambda: work.log.exists() and work.log.read_text() == "1\n")
    runtime.terminate(running)
    assert runtime.wait(running, 0.3) is None
    runtime.kill(running)
    assert runtime.wait(running, 20) == Exit(137)


def test_adopting_finds_what_has_ended(runtime: DockerRuntime, work: Work) -> None:
    script = "print('x' * 100000); raise SystemExit(3)"
    daemon = start_elsewhere(replace(work, command=python(script)))
    daemon.kill()
    daemon.wait()
    time.sleep(1)
    running = runtime.adopt(work)
    assert running is not None
    assert runtime.wait(running, 20) == Exit(3)
    assert work.log.read_text() == "x" * 100000 + "\n"
    runtime.remove(running)
    assert runtime.adopt(work) is None


def test_adopting_removes_older_attempts_and_half_started_ones(
    runtime: DockerRuntime, engine: docker.DockerClient, work: Work
) -> None:
    old = runtime.start(replace(work, command=("sleep", "60")))
    labels = {
        "outlast.job": work.job,
        "outlast.machine": work.machine,
        "outlast.attempt": "2",
        "outlast.attempts": str(work.attempts),
    }
    half = engine.containers.create(work.image, ["sleep", "60"], labels=labels)
    others = {
        engine.containers.create(work.image, ["sleep", "60"], labels={**labels, **more}).id
        for more in ({"outlast.job": "another"}, {"outlast.attempts": "/home/another"})
    }
    assert runtime.adopt(replace(work, attempt=2)) is None
    left = {
        container.id
        for container in engine.containers.list(
            all=True, filters={"label": f"outlast.machine={work.machine}"}
        )
    }
    assert left == others
    assert half.id not in left
    assert runtime.wait(old, 5) == Exit(137, message="somebody removed the container")


def test_the_machines_identity_is_out_of_reach(runtime: DockerRuntime, work: Work) -> None:
    addresses = metadata_block.ADDRESSES
    script = f"""
import socket
for address in {addresses!r}:
    for port in (80, 32526):
        try:
            socket.create_connection((address, port), timeout=5).close()
            print("reached", address)
        except ConnectionRefusedError:
            pass
        except OSError as error:
            print(address, error)
"""
    assert run(runtime, work, *python(script)) == Exit(0)
    assert work.log.read_text() == ""


def test_an_address_of_this_machine_is_out_of_reach_too(work: Work) -> None:
    """As above, where the packets would not be passed on but taken in."""
    if os.geteuid():
        pytest.skip("needs root, to give this machine an address")
    address = "198.51.100.254"  # of a network for documentation; the real one stays as it is
    runtime = DockerRuntime(block_metadata=lambda: metadata_block.ensure([address]))
    script = f"""
import socket
socket.create_connection(("{address}", 8098), timeout=5)
"""
    on_lo = [f"{address}/32", "dev", "lo"]
    subprocess.run(["ip", "address", "add", *on_lo], check=True)
    try:
        with socket.create_server((address, 8098)):
            # The machine itself reaches it.
            subprocess.run(python(script), check=True)
            assert run(runtime, work, *python(script)).code == 1
        assert "Connection refused" in work.log.read_text()
    finally:
        subprocess.run(["ip", "address", "del", *on_lo], check=True)
        for rule in metadata_block.rules(address, "DOCKER-USER"):
            subprocess.run(["iptables", "-D", *rule], check=True)
