"""Azure's scheduled events over real HTTP; payloads as documented and recorded."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest

from agent.metadata_kit import Metadata
from outlast_agent.watchers.azure import AzureWatcher
from outlast_agent.watchers.base import WatcherError

# As seen on an AKS node on 2024-03-16 (a comment in a public watcher script). Documented at
# https://learn.microsoft.com/azure/virtual-machines/linux/scheduled-events
PREEMPT = {
    "EventId": "51941B56-8080-45AC-81AE-8BDA818F5958",
    "EventStatus": "Scheduled",
    "EventType": "Preempt",
    "ResourceType": "VirtualMachine",
    "Resources": ["aks-workloads1-15413341-vmss_3"],
    "NotBefore": "Sat, 16 Mar 2024 19:52:09 GMT",
    "Description": "",
    "EventSource": "Platform",
}
VM = "aks-workloads1-15413341-vmss_3"


class Clock:
    """A monotonic clock that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def metadata():
    made = Metadata(VM)
    yield made
    made.close()


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def watcher(metadata, clock):
    return AzureWatcher(metadata.endpoint, VM, monotonic=clock)


def at(seconds: float) -> datetime:
    return datetime.now(timezone.utc) + timedelta(seconds=seconds)


def test_nothing(watcher):
    assert watcher.poll() == ()


def test_a_preemption(metadata, watcher, clock):
    id_ = metadata.evict(30)
    (notice,) = watcher.poll()
    assert (notice.id, notice.reason) == (id_, "preempt")
    assert 28 <= notice.seconds_left <= 30
    assert notice.deadline_monotonic == clock.now + notice.seconds_left


def test_time_left_is_by_the_clock_of_the_answer(metadata, watcher, monkeypatch):
    """The recorded date is years ago for this machine, and 30 s ahead for the server."""
    metadata.events = [PREEMPT]
    metadata.date = "Sat, 16 Mar 2024 19:51:39 GMT"
    assert watcher.poll()[0].seconds_left == 30.0


@pytest.mark.parametrize(
    "write",
    [
        lambda moment: format_datetime(moment, usegmt=True),
        lambda moment: moment.strftime("%Y-%m-%dT%H:%M:%SZ"),
        lambda moment: moment.isoformat(),
        lambda moment: moment.replace(tzinfo=None).isoformat(timespec="seconds"),
    ],
)
def test_both_forms_of_a_date(metadata, watcher, write):
    text = write(at(600))
    metadata.events = [{**PREEMPT, "EventType": "Redeploy", "NotBefore": text}]
    (notice,) = watcher.poll()
    assert notice.reason == "redeploy"
    assert 590 < notice.seconds_left <= 601


def test_started_means_now(metadata, watcher):
    metadata.events = [{**PREEMPT, "EventStatus": "Started", "NotBefore": ""}]
    assert watcher.poll()[0].seconds_left == 0.0


def test_seen_again_it_keeps_its_deadline(metadata, watcher, clock):
    metadata.evict(30)
    first = watcher.poll()[0]
    clock.now += 0.7  # the answer's whole seconds seem to give some of it back
    assert watcher.poll()[0].deadline_monotonic == first.deadline_monotonic


def test_brought_forward_it_has_a_new_deadline(metadata, watcher, clock):
    metadata.evict(900, "Reboot")
    first = watcher.poll()[0]
    metadata.events[0] = {**metadata.events[0], "EventStatus": "Started", "NotBefore": ""}
    again = watcher.poll()[0]
    assert again.id == first.id
    assert again.deadline_monotonic == clock.now


def test_events_for_others_and_unknown_ones_are_passed_over(metadata, watcher):
    metadata.events = [
        {**PREEMPT, "Resources": ["another_0"]},
        {**PREEMPT, "EventType": "SomethingNew"},
    ]
    assert watcher.poll() == ()
    metadata.events = [{**PREEMPT, "Resources": ["another_0", VM.upper()]}]
    assert len(watcher.poll()) == 1


def test_without_a_name_every_event_is_for_it(metadata):
    metadata.events = [PREEMPT]
    assert len(AzureWatcher(metadata.endpoint, "").poll()) == 1


def test_cancelled_it_disappears(metadata, watcher):
    metadata.evict(30)
    assert len(watcher.poll()) == 1
    metadata.cancel()
    assert watcher.poll() == ()


def test_acknowledging(metadata, watcher):
    id_ = metadata.evict(30)
    watcher.acknowledge(watcher.poll()[0])
    assert metadata.acknowledged == [id_]


@pytest.mark.parametrize("status", [400, 404, 405, 500])
def test_faults_are_told_in_a_line(metadata, watcher, status):
    metadata.status = status
    with pytest.raises(WatcherError, match=f"GET answered {status}") as error:
        watcher.poll()
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("status", "away"), [(410, 3.0), (429, 2.0)])
def test_asked_to_come_later_it_stays_away_and_forgets_nothing(
    metadata, watcher, clock, status, away
):
    metadata.evict(30)
    seen = watcher.poll()
    metadata.status = status
    with pytest.raises(WatcherError):
        watcher.poll()
    polls = len(metadata.polls)
    clock.now += away - 0.1
    assert watcher.poll() == seen
    assert len(metadata.polls) == polls
    metadata.status = 200
    clock.now += 0.2
    assert [(n.id, n.deadline_monotonic) for n in watcher.poll()] == [
        (n.id, n.deadline_monotonic) for n in seen
    ]
    assert len(metadata.polls) == polls + 1


@pytest.mark.parametrize("events", [None, "x", [None], [{}], [{**PREEMPT, "NotBefore": "soon"}]])
def test_nonsense_is_told_in_a_line(metadata, watcher, events):
    metadata.events = events
    with pytest.raises(WatcherError, match="cannot be read"):
        watcher.poll()


def test_nobody_answers():
    watcher = AzureWatcher("http://127.0.0.1:9", VM)
    with pytest.raises(WatcherError, match=r"no answer from http://127\.0\.0\.1:9"):
        watcher.poll()


def test_a_proxy_in_the_environment_is_not_asked(metadata, monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:9")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    assert AzureWatcher(metadata.endpoint, VM).poll() == ()
