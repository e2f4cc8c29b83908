"""What the daemon tells the training process through its environment, read once."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from outlast.cadence import BETWEEN_LOSSES, MAX_OVERHEAD
from outlast.refused import SettingError


@dataclass(frozen=True)
class Environment:
    """Where this process trains.

    Every field has a meaning outside Outlast too: a script started by hand keeps its
    checkpoints in ``.outlast/<its name>/`` beside itself and has no control folder.
    """

    scratch: Path
    """Folder for checkpoints, laid out as in :mod:`outlast.manifest`."""
    outputs: Path | None
    """Folder whose files belong to the checkpoint; None: no file is followed."""
    control: Path | None
    """Folder shared with the daemon (notices in; progress, notes, end out); None: no daemon."""
    job: str
    """Name of the job; ``local`` outside Outlast."""
    attempt: int
    """Number of this attempt, from 1; 0 outside Outlast: a new one is taken at each start."""
    rank: int
    """Index of this process among those that train together (torchrun's RANK), from 0."""
    world_size: int
    """How many processes train together (torchrun's WORLD_SIZE), at least 1."""
    every: float | None = None
    """Seconds between saves (OUTLAST_EVERY); None: chosen from the measured cost of a save."""
    max_overhead: float = MAX_OVERHEAD
    """Part of the training time that saves may take (OUTLAST_MAX_OVERHEAD), above 0."""
    between_losses: float = BETWEEN_LOSSES
    """Seconds between two losses of what was not saved (OUTLAST_BETWEEN_LOSSES): the mean time
    between evictions, over the probability that a save at the notice fails."""
    memory: Path | None = None
    """Folder in memory that the daemon reads too (OUTLAST_MEMORY), laid out as ``scratch`` is;
    None: there is none."""
    strict: bool = False
    """OUTLAST_EXACT=strict: refuse to go on where the bits may differ."""

    @property
    def managed(self) -> bool:
        """Whether a daemon is on the other side."""
        return self.control is not None

    def instead(self, first: str) -> str:
        """What a person can do where going on is refused: ``first``, or begin anew."""
        anew = "submit the job under another name" if self.managed else f"remove {self.scratch}"
        return f"{first}, or {anew} to begin anew. Nothing that is saved was changed."


def read_environment(environ: Mapping[str, str] | None = None, *, script: Path) -> Environment:
    """Freeze the ``OUTLAST_*`` variables (and torchrun's RANK and WORLD_SIZE).

    ``script`` is the file that the user started; without a daemon, checkpoints are kept in
    ``.outlast/<its name>`` beside it, so that two scripts in one folder do not meet. Raises
    SettingError (a ValueError), naming the variable, if a number is not one.
    """
    env = os.environ if environ is None else environ

    def path(name: str) -> Path | None:
        return Path(env[name]) if env.get(name) else None

    def number(name: str, default: int) -> int:
        text = env.get(name, "")
        if not text:
            return default
        if not text.isdecimal():
            raise SettingError(f"{name} must be a whole number, not {text!r}")
        return int(text)

    def seconds(name: str) -> float | None:
        value = real(name)
        if value is not None and not 0 <= value < math.inf:
            raise SettingError(f"{name} must be a number of seconds, not {env[name]!r}")
        return value

    def real(name: str) -> float | None:
        try:
            return float(env[name]) if env.get(name) else None
        except ValueError:
            return math.nan

    def above_zero(name: str, default: float, most: float) -> float:
        value = real(name)
        if value is not None and not 0 < value <= most:
            raise SettingError(
                f"{name} must be a number above 0 and at most {most:g}, not {env[name]!r}"
            )
        return default if value is None else value

    return Environment(
        scratch=path("OUTLAST_SCRATCH") or script.resolve().parent / ".outlast" / script.stem,
        outputs=path("OUTLAST_OUTPUTS"),
        control=path("OUTLAST_CONTROL"),
        job=env.get("OUTLAST_JOB") or "local",
        attempt=number("OUTLAST_ATTEMPT", 0),
        rank=number("RANK", 0),
        world_size=number("WORLD_SIZE", 1),
        every=seconds("OUTLAST_EVERY"),
        max_overhead=above_zero("OUTLAST_MAX_OVERHEAD", MAX_OVERHEAD, 1.0),
        between_losses=above_zero("OUTLAST_BETWEEN_LOSSES", BETWEEN_LOSSES, 1e9),
        memory=path("OUTLAST_MEMORY"),
        strict=env.get("OUTLAST_EXACT") == "strict",
    )
