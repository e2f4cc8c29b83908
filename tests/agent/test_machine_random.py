"""The machine's life: a random world answers its effects, and what must never be never is."""

from __future__ import annotations

import math

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from agent.machine_kit import LIFETIME, notice
from outlast_agent import claim, effects, events, machine
from outlast_agent.outcome import Ending

rarely = st.integers(0, 7).map(lambda number: number == 5)
"""Most runs should get somewhere before something ends them."""


class World(RuleBasedStateMachine):
    """Whatever the machine asks for is answered, in any order, with any answer there can be;
    notices, verdicts and time come as they like."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 100.0
        self.asked: list[effects.Effect] = []
        self.running: int | None = None
        self.claimed: set[int] = set()
        self.recorded: dict[int, Ending] = {}
        self.published: set[int] = set()
        self.told: dict[int, float] = {}
        """The deadline that each attempt's program read of last."""
        self.off = False
        self.final: claim.Leave | None = None
        self.highest = 0
        self.own: int | None = None
        self.state, todo = machine.begin(self.now, lifetime_left=LIFETIME)
        self.do(todo)

    def do(self, todo: tuple[effects.Effect, ...]) -> None:
        for effect in todo:
            assert not self.off, f"{effect} after the machine has gone"
            match effect:
                case effects.Start(attempt):
                    assert self.running is None
                    assert self.state.notice is None
                    assert self.state.leave is None
                    assert attempt in self.claimed
                    assert attempt not in self.recorded
                case effects.Record(attempt, ending):
                    assert self.running is None, "an end while the command runs"
                    assert attempt not in self.recorded, "two ends of one attempt"
                    self.recorded[attempt] = ending
                case effects.Acknowledge():
                    assert self.running is None, "the cloud may take the machine while it trains"
                    assert self.own is None or self.own in self.recorded, "nothing was saved"
                case effects.Publish(attempt):
                    assert attempt in self.claimed
                    self.published.add(attempt)
                case effects.Tell(attempt, told):
                    assert self.running is not None
                    assert told.deadline_monotonic <= self.told.get(attempt, math.inf)
                    self.told[attempt] = told.deadline_monotonic
                case effects.Terminate() | effects.Kill():
                    assert self.running is not None
                case effects.Adopt(attempt) | effects.Restore(attempt):
                    assert attempt not in self.recorded
                case effects.Claim(attempt):
                    assert attempt > self.highest
                    assert self.state.notice is None
                case effects.PowerOff():
                    self.off = True
            self.asked.append(effect)

    def step(self, event: events.Event) -> None:
        self.state, todo = machine.step(self.state, event)
        self.do(todo)

    def take(self, kind: type) -> effects.Effect | None:
        for index, effect in enumerate(self.asked):
            if isinstance(effect, kind):
                return self.asked.pop(index)
        return None

    def has(self, kind: type) -> bool:
        return any(isinstance(effect, kind) for effect in self.asked)

    # Answers.

    @precondition(lambda self: self.has(effects.SetUp))
    @rule(fails=rarely)
    def set_up(self, fails: bool) -> None:
        self.take(effects.SetUp)
        ending = Ending("setup-failed", "image", "no such image")
        self.step(events.NotReady(ending, self.now) if fails else events.Ready(self.now))

    @precondition(lambda self: self.has(effects.Claim))
    @rule(won=st.booleans())
    def claim(self, won: bool) -> None:
        asked = self.take(effects.Claim)
        assert isinstance(asked, effects.Claim)
        self.highest = asked.attempt
        if won:
            self.own = asked.attempt
            self.claimed.add(asked.attempt)
            self.step(events.ClaimWon(asked.attempt, self.now))
        else:
            self.step(events.ClaimLost(asked.attempt))

    @precondition(lambda self: self.has(effects.Adopt))
    @rule(found=st.sampled_from(["running", "nothing", "lost"]))
    def adopt(self, found: str) -> None:
        asked = self.take(effects.Adopt)
        assert isinstance(asked, effects.Adopt)
        if found == "lost":
            self.step(events.Refused(Ending("yielded", message="nothing is left")))
            return
        self.running = asked.attempt if found == "running" else None
        self.step(events.Adopted(found == "running", self.now))

    @precondition(lambda self: self.has(effects.Restore))
    @rule(held=rarely)
    def restore(self, held: bool) -> None:
        self.take(effects.Restore)
        self.take(effects.Abandon)
        refused = events.Refused(Ending("setup-failed", "held", "less than was durable"))
        self.step(refused if held else events.Restored())

    @precondition(lambda self: self.has(effects.Start))
    @rule(fails=rarely)
    def start(self, fails: bool) -> None:
        asked = self.take(effects.Start)
        assert isinstance(asked, effects.Start)
        if not fails:
            self.running = asked.attempt
            self.step(events.Started(self.now))
        else:
            self.step(events.Refused(Ending("setup-failed", "command", "not found")))

    @precondition(lambda self: self.running is not None and not self.off)
    @rule()
    def announce(self) -> None:
        self.step(events.Announced())

    @precondition(lambda self: self.running is not None and not self.off)
    @rule()
    def say_end(self) -> None:
        self.step(events.SaidEnd(self.now))

    @precondition(lambda self: self.running is not None and not self.off)
    @rule(outcome=st.sampled_from(["yielded", "yielded", "yielded", "finished", "failed"]))
    def exit(self, outcome: str) -> None:
        self.running = None
        if self.state.stop is not None and self.state.stop.why == "cancelled":
            outcome = "cancelled"
        self.step(events.Exited(Ending(outcome)))

    @precondition(lambda self: self.has(effects.Flush))
    @rule()
    def flush(self) -> None:
        while self.take(effects.Flush):
            pass
        self.step(events.Flushed())

    @precondition(lambda self: self.has(effects.Record))
    @rule()
    def record(self) -> None:
        asked = self.take(effects.Record)
        assert isinstance(asked, effects.Record)
        self.step(events.Recorded(self.now))
        self.own = None

    # What comes by itself.

    @rule(kind=st.sampled_from(["free", "free", "wait", "mine", "rebooted", "stale"]))
    def judge(self, kind: str) -> None:
        verdict: claim.Verdict
        if self.own is not None and self.own not in self.recorded:
            verdict = claim.Mine(self.own)
        elif kind == "mine" and not self.claimed and not self.has(effects.Claim):
            self.own = self.highest = self.highest + 1  # a former daemon of this boot claimed it
            self.claimed.add(self.own)
            verdict = claim.Mine(self.own)
        elif kind == "rebooted" and not self.claimed and not self.has(effects.Claim):
            self.highest += 1
            verdict = claim.Rebooted(self.highest)
        elif kind == "stale" and self.recorded:
            verdict = claim.Mine(max(self.recorded))  # read before the end was written
        elif kind == "wait":
            verdict = claim.Wait("another trains")
        else:
            verdict = claim.Free(self.highest + 1)
        self.step(events.Judged(verdict, self.now))

    @rule(why=st.sampled_from(["closed", "result", "cancelled", "superseded"]), now=rarely)
    def leave(self, why: str, now: bool) -> None:
        if not now or (why == "superseded" and self.own is None):
            return
        self.final = self.final or claim.Leave(why, why)
        self.step(events.Judged(self.final, self.now))

    @rule(
        seconds=st.floats(0, 60),
        reason=st.sampled_from(["preempt", "freeze", "reboot"]),
        id_=st.sampled_from(["n1", "n2"]),
    )
    def evict(self, seconds: float, reason: str, id_: str) -> None:
        self.step(events.NoticeCame(notice(self.now, seconds, reason, id_), self.now))

    @rule(id_=st.sampled_from(["n1", "n2"]))
    def take_back(self, id_: str) -> None:
        self.step(events.NoticeWent(id_, self.now))

    @rule(seconds=st.sampled_from([0.25, 0.25, 1.0, 1.0, 30.0, 1000.0]))
    def tick(self, seconds: float) -> None:
        self.now += seconds
        self.step(events.Tick(self.now, waits=seconds > 20))

    @invariant()
    def the_store_knows_of_a_notice(self) -> None:
        state = self.state
        superseded = state.stop is not None and state.stop.why == "superseded"
        if (
            state.notice is not None
            and state.attempt is not None
            and state.phase not in ("claiming", "adopting", "ending", "leaving")
            and not superseded
        ):
            assert state.attempt in self.published

    @invariant()
    def the_soonest_deadline_is_obeyed(self) -> None:
        state = self.state
        if state.phase == "stopping" and state.stop is not None and state.stop.why != "superseded":
            assert all(state.stop.deadline <= one.deadline_monotonic for one in state.notices)
            assert state.attempt is not None
            assert self.told[state.attempt] == state.stop.deadline

    @invariant()
    def nothing_trains_that_should_leave(self) -> None:
        if self.state.phase == "training":
            assert not isinstance(self.state.verdict, claim.Leave)
            assert self.state.notice is None
            assert self.state.attempt not in self.published, "others may claim the next by it"

    def teardown(self) -> None:
        """However it came here: answered honestly, a closed launch ends in a power-off."""
        if self.off:
            return
        closed = claim.Leave("closed", "launch 1 is closed")
        for _ in range(60):
            if self.off:
                break
            self.step(events.Judged(closed, self.now))
            for answer in (self.set_up, self.restore, self.start):
                kind = {"set_up": effects.SetUp, "restore": effects.Restore}.get(
                    answer.__name__, effects.Start
                )
                if self.has(kind):
                    answer(False)
            if self.has(effects.Claim):
                self.claim(True)
            if self.has(effects.Adopt):
                self.adopt("nothing")
            if self.running is not None and self.has(effects.Kill):
                self.exit("yielded")
            if self.has(effects.Flush):
                self.flush()
            if self.has(effects.Record):
                self.record()
            if not self.off:
                self.tick(1.0)
        assert self.off, f"closed, and still {self.state.phase}"
        assert self.running is None
        assert self.claimed <= self.recorded.keys(), "a claim without an end"


TestWorld = World.TestCase
TestWorld.settings = settings(
    max_examples=120, stateful_step_count=50, deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)  # fmt: skip
