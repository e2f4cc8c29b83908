"""How often a local save is made durable, and what that costs. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from outlast.cadence import BETWEEN_LOSSES, INTERFERENCE, LONGEST, MAX_OVERHEAD, daly
from outlast_agent.prices import FREE, MACHINE_USD_PER_HOUR, Prices, of_store
from outlast_agent.spec import JobSpec

MONEY_SHARE = 0.1
"""Requests and traffic of uploads on cadence cost at most this part of what the machine costs."""
LINK_SHARE = 0.25
"""Uploads on cadence take at most this part of the link in the mean."""
BESIDE_OBJECTS = 3
"""Requests of one upload that carry no object: the manifest, and the two listings of a sweep."""


@dataclass(frozen=True)
class Cadence:
    """Of one machine, for one job."""

    every: float | None = None
    """The job's wish, seconds; None: chosen."""
    max_overhead: float = MAX_OVERHEAD
    """Part of the training time that uploads may take."""
    between_losses: float = BETWEEN_LOSSES
    """Seconds; as in :data:`outlast.cadence.BETWEEN_LOSSES`."""
    prices: Prices = FREE
    usd_per_gb: float = 0.0
    """What a gigabyte costs that leaves this machine for the store."""
    usd_per_hour: float = MACHINE_USD_PER_HOUR
    """Of this machine, above 0."""

    def usd(self, size: int, objects: int) -> float:
        """What one upload of ``size`` bytes in ``objects`` objects costs."""
        requests = objects + BESIDE_OBJECTS
        return requests * self.prices.write + size / 1e9 * self.usd_per_gb

    def interval(self, size: int, objects: int, rate: float | None) -> float:
        """Seconds from the begin of one upload to that of the next, if ``size`` bytes in
        ``objects`` objects are to go up at ``rate`` bytes per second (None: not measured yet).

        An upload costs the training the CPU that it takes, and the money for which the machine
        could have trained: weighed against what a loss costs, as saves are. Above that stand the
        bounds: ``max_overhead``, :data:`MONEY_SHARE`, :data:`LINK_SHARE`.
        """
        if self.every is not None:
            return self.every
        if not rate or rate <= 0:
            return 0.0
        seconds = size / rate
        felt = INTERFERENCE * seconds
        paid = self.usd(size, objects) / (self.usd_per_hour / 3600)
        return max(
            min(daly(felt + paid, self.between_losses), LONGEST),
            felt / self.max_overhead,
            paid / MONEY_SHARE,
            seconds / LINK_SHARE,
        )


def cadence_of(spec: JobSpec) -> Cadence:
    """Of the machine that is told ``spec``."""
    return Cadence(
        spec.checkpoint.durable_every_seconds,
        max_overhead=spec.checkpoint.max_overhead,
        between_losses=spec.checkpoint.between_losses_seconds,
        prices=of_store(spec.store),
        usd_per_gb=spec.usd_per_gb,
        usd_per_hour=spec.usd_per_hour,
    )
