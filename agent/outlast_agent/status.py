"""What ``outlast-agent status`` says: under 4,096 bytes, the limit of a run-command answer.

Reads the file that the daemon writes with every heartbeat; asks nobody, so it answers when the
store or the daemon does not.
"""

from __future__ import annotations

import time
from pathlib import Path

from outlast_agent import records

MAX_BYTES = 4095
STALE_SECONDS = 15.0


def status_lines(root: Path, *, as_json: bool) -> tuple[str, bool]:
    """The text, and whether a daemon has ever written its status below ``root``."""
    path = root / "status.json"
    try:
        data = path.read_bytes()
        age = max(0.0, time.time() - path.stat().st_mtime)
        beat = records.load(records.Beat, data, key=str(path))
    except FileNotFoundError:
        return f"no daemon has written its status in {root}\n", False
    except records.RecordError as error:
        return _cut(f"{error}\n"), False
    if as_json:
        return _json(beat, age), True
    return _cut(_text(beat, age)), True


def _json(beat: records.Beat, age: float) -> str:
    """Whole JSON that fits: metrics go first, then words."""
    value = beat.model_copy(update={"detail": beat.detail[:800]})
    bare = value.model_copy(update={"metrics": {}})
    for smaller in (value, bare, bare.model_copy(update={"concerns": ()})):
        text = smaller.model_dump_json(exclude_none=True)
        text = f'{text[:-1]},"age":{age:.1f}}}\n'
        if len(text.encode()) <= MAX_BYTES:
            return text
    bare = bare.model_copy(update={"concerns": (), "detail": ""})
    return f'{bare.model_dump_json(exclude_none=True)[:-1]},"age":{age:.1f}}}\n'


def _text(beat: records.Beat, age: float) -> str:
    who = f"attempt {beat.attempt}" if beat.attempt is not None else "no attempt"
    lines = [f"{beat.job} on {beat.machine} (launch {beat.launch}): {beat.phase}, {who}"]
    if age > STALE_SECONDS:
        lines.append(f"said {age:.0f} s ago: the daemon is not running, or the machine is stuck")
    if beat.detail:
        lines.append(f"waits: {beat.detail}")
    if beat.notice_seconds_left is not None:
        lines.append(f"notice: {beat.notice_seconds_left:.0f} s left")
    if beat.step is not None:
        speed = f", {beat.step_seconds:.3g} s each" if beat.step_seconds else ""
        epoch = f", epoch {beat.epoch} of {beat.epochs}" if beat.epoch is not None else ""
        lines.append(f"step {beat.step}{speed}{epoch}")
    if beat.durable_step is not None:
        old = f", {beat.durable_age:.0f} s ago" if beat.durable_age is not None else ""
        lines.append(f"durable: step {beat.durable_step}{old}")
    elif beat.attempt is not None:
        lines.append("durable: nothing yet")
    if beat.flush_seconds is not None:
        lines.append(f"to make everything durable now: {beat.flush_seconds:.1f} s")
    elif beat.attempt is not None:
        lines.append("to make everything durable now: not known before the first save")
    lines += [f"mind: {text}" for text in beat.concerns]
    if beat.metrics:
        pairs = [f"{name} {value:.4g}" for name, value in list(beat.metrics.items())[:20]]
        lines.append(", ".join(pairs))
    return "\n".join(lines) + "\n"


def _cut(text: str) -> str:
    data = text.encode()
    return text if len(data) <= MAX_BYTES else data[: MAX_BYTES - 1].decode(errors="ignore") + "\n"
