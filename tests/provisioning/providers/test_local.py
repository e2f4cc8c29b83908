"""What only local machines have: a tree of processes, a supervisor, a metadata endpoint."""

from __future__ import annotations

import email.utils
import json
import os
import signal
import time
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from outlast_provisioning.providers import local, local_vm, processes
from outlast_provisioning.providers.base import EVICTED, TryAgainError
from outlast_provisioning.providers.local import COMING_UP_SECONDS, LocalProvider
from outlast_provisioning.providers.local_folder import MachineFolder
from outlast_provisioning.providers.local_vm import MACHINE_VARIABLE
from provisioning.live.jobs import NAME, Place
from provisioning.providers.local_kit import HEADERS, QUERY, ask, endpoint, events, until


@pytest.mark.usefixtures("no_daemon")
def test_the_endpoint_is_like_azures(provider: LocalProvider, tmp_path: Path) -> None:
    url = endpoint(ask(provider, tmp_path))

    def get(path: str = QUERY, **headers: str) -> int:
        return httpx.get(url + path, headers=headers, trust_env=False).status_code

    assert get(Metadata="true") == 200
    assert get() == 400
    assert get(Metadata="true", **{"X-Forwarded-For": "10.0.0.1"}) == 400
    assert get("/metadata/scheduledevents", Metadata="true") == 400
    assert get("/metadata/scheduledevents?api-version=1999-01-01", Metadata="true") == 400
    assert get("/metadata/instance", Metadata="true") == 404
    assert httpx.put(url + QUERY, headers=HEADERS, trust_env=False).status_code == 405
    for body in (b"", b"[]", b"{", b'{"StartRequests": [{}]}', b"[" * 50000):
        answer = httpx.post(url + QUERY, headers=HEADERS, content=body, trust_env=False)
        assert answer.status_code == 400, body
    assert events(url) == []


@pytest.mark.usefixtures("no_daemon")
def test_a_notice_is_published_then_withdrawn(provider: LocalProvider, tmp_path: Path) -> None:
    url = endpoint(ask(provider, tmp_path, grace=30.0))
    before = httpx.get(url + QUERY, headers=HEADERS, trust_env=False).json()["DocumentIncarnation"]
    provider.evict("digits-1")
    until(lambda: events(url))
    answer = httpx.get(url + QUERY, headers=HEADERS, trust_env=False)
    (event,) = answer.json()["Events"]
    assert answer.json()["DocumentIncarnation"] > before
    assert (event["EventType"], event["EventStatus"]) == ("Preempt", "Scheduled")
    assert event["Resources"] == ["digits-1"]
    assert event["NotBefore"].endswith("GMT")
    not_before = email.utils.parsedate_to_datetime(event["NotBefore"])
    said = email.utils.parsedate_to_datetime(answer.headers["Date"])
    assert 20 <= (not_before - said).total_seconds() <= 30
    provider.evict("digits-1")  # once more changes nothing
    time.sleep(0.2)
    assert [one["EventId"] for one in events(url)] == [event["EventId"]]
    provider.cancel_notice("digits-1")
    until(lambda: not events(url))
    assert provider.list()[0].state == "running"


@pytest.mark.usefixtures("no_daemon")
def test_acknowledged_the_machine_goes_at_once(provider: LocalProvider, tmp_path: Path) -> None:
    folder = ask(provider, tmp_path, grace=600.0)
    url = endpoint(folder)
    provider.evict("digits-1")
    until(lambda: events(url))
    body = {"StartRequests": [{"EventId": events(url)[0]["EventId"]}]}
    began = time.monotonic()
    answer = httpx.post(url + QUERY, headers=HEADERS, json=body, trust_env=False)
    assert answer.status_code == 200
    until(lambda: provider.list()[0].state == "gone")
    assert time.monotonic() - began < 5
    assert provider.list()[0].detail == EVICTED
    assert not folder.disk.exists()


SPREADS = """
import os, subprocess, sys, time
# A grandchild in a session of its own, whose parent is gone; one that ignores signals;
# and one that forgets its environment.
subprocess.Popen(
    [sys.executable, "-c", "import os, time\\nif os.fork() == 0:\\n os.setsid()\\n time.sleep(999)"]
)
subprocess.Popen(
    [sys.executable, "-c", "import signal as s, time\\ns.signal(15, s.SIG_IGN)\\ntime.sleep(999)"]
)
subprocess.Popen(["/bin/sleep", "999"], env={}, start_new_session=True)
time.sleep(0.5)
open(os.environ["STEPS"], "w").write("1 1\\n")
time.sleep(999)
"""


def below(provider: LocalProvider, place: Place) -> set[processes.Process]:
    (machine,) = provider.list()
    found = MachineFolder(place.home / "local" / machine.name).supervised()
    assert found is not None
    there = [processes.find(pid) for pid in processes.descendants(found.pid)]
    return {process for process in there if process is not None}


def test_no_descendant_survives_an_eviction(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.submit(place.write(SPREADS))
    try:
        with place.controller():
            place.wait(place.steps, "the script")
        tree = below(place.provider, place)
        assert len(tree) >= 5  # daemon, wrapper, script, and its three
        place.provider.evict(place.training_machine(), notice=False)
        until(lambda: place.provider.list()[0].state == "gone")
        assert [process for process in tree if processes.alive(process)] == []
    finally:
        for machine in place.provider.list():
            place.provider.delete(machine.name)


def test_a_killed_supervisor_leaves_nothing_running(tmp_path: Path) -> None:
    place = Place(tmp_path)
    place.submit(place.write(SPREADS.replace("env={}, ", "")))
    try:
        with place.controller():
            place.wait(place.steps, "the script")
        tree = below(place.provider, place)
        (machine,) = place.provider.list()
        found = MachineFolder(place.home / "local" / machine.name).supervised()
        assert found is not None
        os.kill(found.pid, signal.SIGKILL)
        until(lambda: not processes.alive(found.supervisor))
        assert [one.state for one in place.provider.list()] == ["gone"]
        assert [process for process in tree if processes.alive(process)] == []
        assert place.training_machine().startswith(NAME)
    finally:
        for machine in place.provider.list():
            place.provider.delete(machine.name)


def test_the_daemon_is_started_again(provider: LocalProvider, tmp_path: Path) -> None:
    folder = ask(provider, tmp_path)
    found = folder.supervised()
    assert found is not None

    def daemon() -> set[int]:
        marked = processes.with_variable(MACHINE_VARIABLE, str(folder.path))
        there = {one.pid for one in marked}
        return there & set(processes.descendants(found.pid))

    until(daemon)
    (first,) = daemon()
    os.kill(first, signal.SIGKILL)
    until(lambda: daemon() - {first})


def test_machines_of_one_name_are_two(provider: LocalProvider, tmp_path: Path) -> None:
    ask(provider, tmp_path)
    another = LocalProvider(tmp_path / "another")
    ask(another, tmp_path)
    provider.delete("digits-1")
    assert provider.list() == []
    assert [one.state for one in another.list()] == ["running"]
    another.delete("digits-1")


def test_a_daemon_that_cannot_begin_does_not_keep_its_machine(
    provider: LocalProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    supervisor = local_vm.Supervisor(ask(provider, tmp_path))
    monkeypatch.setattr(supervisor, "_start", lambda: None)  # and at once it is not there again
    monkeypatch.setattr(supervisor, "_reap", lambda: False)  # these children are the test's own
    monkeypatch.setattr(local_vm, "POLL_SECONDS", 0.0)
    assert supervisor._watch(time.monotonic() + 20) == "powered-off"
    assert len(supervisor._starts) == local_vm.MOST_STARTS


def test_stopped_and_started_it_is_another_boot(provider: LocalProvider, tmp_path: Path) -> None:
    folder = ask(provider, tmp_path)
    before = folder.supervised()
    assert before is not None
    os.kill(before.pid, signal.SIGKILL)
    until(lambda: not processes.alive(before.supervisor))
    folder.write(replace(before, state="stopped"))
    assert provider.list()[0].state == "stopped"
    provider.start("digits-1")
    after = folder.supervised()
    assert after is not None
    assert provider.list()[0].state == "running"
    assert after.boot_id != before.boot_id


def test_a_pid_that_was_used_again_is_not_killed() -> None:
    mine = processes.me()
    processes.kill(processes.Process(mine.pid, mine.start + 1))
    assert processes.alive(mine)


def test_no_spec_holds_what_the_environment_does(provider: LocalProvider, tmp_path: Path) -> None:
    os.environ["SOME_TOKEN"] = "very-secret"
    try:
        folder = ask(provider, tmp_path)
    finally:
        del os.environ["SOME_TOKEN"]
    for path in folder.path.rglob("*.json"):
        assert "very-secret" not in path.read_text()
    assert json.loads(folder.spec.read_text())["watcher"]["endpoint"] == endpoint(folder)


def test_after_a_reboot_of_the_host_no_pid_is_believed(
    provider: LocalProvider, tmp_path: Path
) -> None:
    folder = ask(provider, tmp_path)
    found = folder.supervised()
    assert found is not None
    assert found.runs
    assert not replace(found, kernel="another boot").runs


def test_a_damaged_folder_hides_no_other_machine_and_can_be_deleted(
    provider: LocalProvider, tmp_path: Path
) -> None:
    folder = ask(provider, tmp_path)
    found = folder.supervised()
    assert found is not None
    for number, request in enumerate(('{"spec": {"job": "digits", "launch": 1}}', "{")):
        path = tmp_path / f"home/local/bad-{number}"
        path.mkdir()
        (path / "request.json").write_text(request)
        (path / "machine.json").write_text("[]")
    (folder.path / "machine.json").write_text("{")
    listed = provider.list()
    assert [(one.name, one.job, one.state) for one in listed] == [
        ("bad-0", "digits", "running"),  # nobody knows: what is not known to be gone is not gone
        ("bad-1", "", "running"),
        ("digits-1", "digits", "running"),
    ]
    assert all("its folder is damaged: " in one.detail for one in listed)
    for one in listed:
        provider.delete(one.name)
    assert provider.list() == []
    until(lambda: not processes.alive(found.supervisor))


def test_a_machine_whose_supervisor_died_before_its_first_word_is_gone(
    provider: LocalProvider, tmp_path: Path
) -> None:
    folder = ask(provider, tmp_path)
    found = folder.supervised()
    assert found is not None
    os.kill(found.pid, signal.SIGKILL)
    until(lambda: not processes.alive(found.supervisor))
    (folder.path / "machine.json").unlink()
    assert provider.list()[0].state == "starting"
    then = time.time() - COMING_UP_SECONDS - 1
    os.utime(folder.request, (then, then))
    assert provider.list()[0].state == "gone"
    assert not list(processes.with_variable(MACHINE_VARIABLE, str(folder.path)))


def test_a_machine_that_cannot_be_started_leaves_nothing_behind(
    provider: LocalProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as broken:
        broken.setenv("PYTHONHOME", str(tmp_path / "nowhere"))
        with pytest.raises(TryAgainError, match=r"machine digits-1 did not start: "):
            ask(provider, tmp_path)
    assert not (tmp_path / "home/local/digits-1").exists()
    ask(provider, tmp_path)
    assert provider.list()[0].state == "running"


def test_a_machine_that_is_half_removed_is_listed_until_it_is_gone(
    provider: LocalProvider, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ask(provider, tmp_path)

    def full(path: Path) -> None:
        raise OSError(16, "Device or resource busy", str(path))

    with monkeypatch.context() as busy:
        busy.setattr(local, "remove_tree", full)  # as a mount below it would
        with pytest.raises(TryAgainError, match=r"deleting machine digits-1: .*busy"):
            provider.delete("digits-1")
    assert [one.name for one in provider.list()] == ["digits-1"]
    provider.delete("digits-1")
    assert not folder.path.exists()
