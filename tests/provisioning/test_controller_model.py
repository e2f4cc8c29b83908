"""Whatever happens, in whatever order, with controllers that are killed halfway: one machine is
counted on, none that may train is deleted, and in the end nothing is left."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from outlast_agent import layout
from outlast_agent.records import AttemptEnd, Cancel, Claim, Result, dump, load
from outlast_agent.stores.base import NotFoundError
from outlast_provisioning.acting import Actor
from outlast_provisioning.actions import Delete
from outlast_provisioning.decide import decide, finished_with
from outlast_provisioning.memory import Memory
from outlast_provisioning.observe import Listing, observe, read_job
from outlast_provisioning.world import World
from provisioning.simulated import NAME, Cloud, Daemons, closed, launches, submitted

CONTROLLERS = st.integers(0, 1)


class Story(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.store = submitted()
        self.cloud = Cloud(self.store)
        self.daemons = Daemons(self.store, self.cloud)
        self.now = 1000.0
        self.memories = [Memory(), Memory()]
        self.checked_ends: set[int] = set()

    # What the controllers do.

    def look(self, who: int) -> World:
        self.now += 0.5
        listing = Listing(self.now, tuple(self.cloud.list()))
        self.now += 0.5
        return observe(self.store, NAME, {"local": listing}, self.memories[who], self.now)

    def act(self, who: int, actions: tuple[object, ...]) -> None:
        memory = self.memories[who]
        job = read_job(self.store, NAME, memory)
        actor = Actor(
            self.store,
            {"local": self.cloud},
            job,
            memory,
            clock=lambda: self.now,
            say=lambda *a, **k: None,
        )
        for action in actions:
            actor.perform(action)  # type: ignore[arg-type]

    @rule(who=CONTROLLERS)
    def tick(self, who: int) -> None:
        self.act(who, decide(self.look(who)))

    @rule(who=CONTROLLERS, done=st.integers(0, 3))
    def killed_halfway(self, who: int, done: int) -> None:
        self.act(who, decide(self.look(who))[:done])
        self.memories[who] = Memory()

    @rule(data=st.data())
    def both_see_the_same(self, data: st.DataObject) -> None:
        worlds = [self.look(0), self.look(1)]
        for who in data.draw(st.permutations([0, 1])):
            self.act(who, decide(worlds[who]))

    # What happens to machines and jobs.

    def running(self) -> list[str]:
        return [m.name for m in self.cloud.list() if m.state == "running"]

    def trained_by(self, attempt: int) -> str:
        return load(Claim, self.store.read(layout.claim(NAME, attempt)), key="").machine

    def live(self) -> list[int]:
        return [
            one
            for one in self.daemons.attempts()
            if not self.daemons.has(layout.attempt_end(NAME, one))
            and self.trained_by(one) in self.running()
        ]

    # One rule for all that may happen: hypothesis leaves out whole rules in many of its runs, and
    # a story without claims is none.
    @rule(data=st.data())
    def happens(self, data: st.DataObject) -> None:
        kinds = ["claim"] * 6 + ["notice", "notice", "save", "save", "gone", "gone", "off", "fail"]
        kind = data.draw(st.sampled_from([*kinds, "time", "time", "full", "room", "finish"]))
        running, live = self.running(), self.live()
        if kind == "time":
            self.now += data.draw(st.sampled_from([1.0, 20.0, 400.0, 2000.0]))
        elif kind in ("full", "room"):
            self.cloud.full = kind == "full"
        elif kind in ("claim", "gone", "off") and running:
            machine = data.draw(st.sampled_from(running))
            act = {
                "claim": self.daemons.claim,
                "gone": self.cloud.evict,
                "off": self.cloud.stop,
            }[kind]
            act(machine)
        elif kind in ("notice", "save", "fail", "finish") and live:
            attempt = data.draw(st.sampled_from(live))
            if kind in ("notice", "save"):
                self.daemons.notice(attempt)
            if kind == "save":
                self.daemons.end(attempt, "yielded", step=attempt * 10)
            elif kind == "fail":
                self.daemons.end(attempt, "failed", step=attempt, cause="error", message="x")
            elif kind == "finish" and data.draw(st.integers(0, 9)) == 0:
                self.daemons.finish(attempt)

    # What must hold.

    @invariant()
    def launches_are_numbered(self) -> None:
        numbers = [launch.number for launch in launches(self.store)]
        assert numbers == list(range(1, len(numbers) + 1))

    @rule()
    def settled(self) -> None:
        """Left alone for a moment, a controller comes to rest, with one machine counted on."""
        at_rest = 0
        for _ in range(12):
            actions = decide(self.look(0))
            self.act(0, actions)
            # What was just seen for the first time is acted on at the second look.
            at_rest = 0 if actions else at_rest + 1
            if at_rest == 2:
                break
        else:
            assert all(isinstance(action, Delete) for action in actions)
        over = self.daemons.has(layout.result(NAME)) or any(
            self.daemons.has(layout.attempt_end(NAME, one)) and self.outcome(one) == "finished"
            for one in self.daemons.attempts()
        )
        counted = self.counted_on()
        waits = self.cloud.full or self.look(0).offer is None
        assert len(counted) == (0 if over else 1) or (waits and not counted)

    def outcome(self, attempt: int) -> str:
        data = self.store.read(layout.attempt_end(NAME, attempt))
        return load(AttemptEnd, data, key="").outcome

    def counted_on(self) -> list[int]:
        """Open launches with a running machine that has no notice and has not failed."""
        found = []
        for launch in launches(self.store):
            mine = [
                one for one in self.daemons.attempts() if self.trained_by(one) == launch.machine
            ]
            noticed = mine and self.daemons.has(layout.attempt_notice(NAME, mine[-1]))
            if closed(self.store, launch.number) is None and not noticed:
                assert launch.machine in self.running()
                found.append(launch.number)
        return found

    @invariant()
    def lost_means_gone(self) -> None:
        for attempt in set(self.daemons.attempts()) - self.checked_ends:
            try:
                data = self.store.read(layout.attempt_end(NAME, attempt))
            except NotFoundError:
                continue
            self.checked_ends.add(attempt)
            if load(AttemptEnd, data, key="").outcome == "lost":
                assert self.trained_by(attempt) not in self.running()

    def teardown(self) -> None:
        """Left alone, the controllers come to rest; after a cancel, nothing is left."""
        self.cloud.full = False
        if not self.daemons.has(layout.result(NAME)) and not self.daemons.has(layout.cancel(NAME)):
            self.store.create(layout.cancel(NAME), dump(Cancel()))
        for _ in range(12):
            self.now += 300
            self.tick(0)
            self.tick(1)
        assert load(Result, self.store.read(layout.result(NAME)), key="").outcome
        assert self.cloud.machines == {}
        assert all(closed(self.store, one.number) for one in launches(self.store))
        assert finished_with(self.look(0))
        assert decide(self.look(0)) == ()


TestStory = Story.TestCase
TestStory.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
