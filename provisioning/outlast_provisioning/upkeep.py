"""How often a job will be saved and what that will cost a day, before anything is measured. Pure.

The same functions decide later, on the machine, from what is measured there.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from outlast.cadence import interval
from outlast_agent import prices
from outlast_agent.spec import JobSpec
from outlast_agent.sync.cadence import MONEY_SHARE, cadence_of
from outlast_provisioning.units import for_people, share_text, size_for_people

SIZES = (10**8, 10**9)
"""Bytes of state that are reckoned with: how large it will be is not known."""
COPY, DISK, LINK = 10e9, 1e9, 100e6
"""Bytes per second: memory to memory, to the local disk, to the store. Of a modest machine."""
OBJECT = 64 << 20
"""Bytes; about so large are objects."""
DAY, MONTH = 86400.0, 30.0


@dataclass(frozen=True)
class Upkeep:
    """Of one job, if its state has ``size`` bytes and all of it changes. Seconds, US dollars."""

    size: int
    every: float
    """From one local save to the next."""
    durable_every: float
    """From one durable save to the next."""
    kept: int
    """Bytes that lie in the store, beside what is kept for each so many steps and each fit."""
    requests_usd: float
    """A day, as are those below."""
    traffic_usd: float
    kept_usd: float

    @property
    def usd(self) -> float:
        """A day, in all."""
        return self.requests_usd + self.traffic_usd + self.kept_usd


def estimate(spec: JobSpec, size: int) -> Upkeep:
    """For a machine that is told ``spec``."""
    checkpoint, cadence = spec.checkpoint, cadence_of(spec)
    every = interval(
        size / COPY,
        size / DISK,
        every=checkpoint.every_seconds,
        max_overhead=checkpoint.max_overhead,
        between_losses=checkpoint.between_losses_seconds,
    )
    objects = math.ceil(size / OBJECT)
    # What is uploaded is a local save, and it has to be up before the next one begins.
    durable_every = max(cadence.interval(size, objects, LINK), every, size / LINK)
    uploads = DAY / durable_every
    traffic = uploads * size / 1e9 * cadence.usd_per_gb
    best = checkpoint.keep.best
    kept = size * (checkpoint.keep.newest + (best.count if best else 0))
    return Upkeep(
        size,
        every,
        durable_every,
        kept,
        requests_usd=uploads * cadence.usd(size, objects) - traffic,
        traffic_usd=traffic,
        kept_usd=kept / 1e9 * cadence.prices.gb_month / MONTH,
    )


def in_words(spec: JobSpec, found: Sequence[Upkeep]) -> list[str]:
    """What is told at submit, a line for each size, and what was assumed."""
    checkpoint = spec.checkpoint
    about = "" if checkpoint.every_seconds is not None else "about "
    lines = []
    for each in found:
        fixed = checkpoint.durable_every_seconds == each.durable_every
        lines.append(
            f"Saves, for {size_for_people(each.size)} of state: {about}every "
            f"{for_people(each.every)} on the machine, durable "
            f"{'' if fixed else 'about '}every {for_people(each.durable_every)}; "
            f"{_dollars(each)}."
        )
    paid = ""
    if any(each.usd for each in found):
        paid = f", and requests and traffic {share_text(MONEY_SHARE)} of the machine's price"
    if None in (checkpoint.every_seconds, checkpoint.durable_every_seconds):
        lines.append(
            f"They take at most {share_text(checkpoint.max_overhead)} of the training time "
            f"(checkpoint.max_overhead) where their intervals are auto{paid}."
        )
    where = "" if spec.store.startswith("file:") else f", list prices of {prices.AS_OF}"
    lines.append(
        f"Estimated, all of it changing, for a disk of {size_for_people(int(DISK))} and a link "
        f"of {size_for_people(int(LINK))} a second, and a loss of what was not saved each "
        f"{for_people(checkpoint.between_losses_seconds)}{where}; `outlast status {spec.job}` "
        "shows the intervals that are measured."
    )
    return lines


def _dollars(each: Upkeep) -> str:
    kept = f"{size_for_people(each.kept)} kept"
    if not each.usd:
        return f"{kept}, which costs nothing in this store"
    moved = each.requests_usd + each.traffic_usd
    return f"requests and traffic {_usd(moved)} a day, {kept} {_usd(each.kept_usd)} a day"


def _usd(amount: float) -> str:
    return "less than $0.01" if amount < 0.01 else f"about ${amount:.2f}"
