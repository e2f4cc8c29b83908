"""Where the demo takes the machine away: pure, from the length of the run."""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Literal

Kind = Literal["notice", "kill"]


@dataclass(frozen=True)
class Point:
    """Take the machine away as soon as this step has been seen."""

    step: int
    kind: Kind


def spread_points(evictions: int, kills: int, steps: int, per_epoch: int) -> list[Point]:
    """Points spread over the run, each at another place in its epoch.

    The places: the first batch, the middle, the last batch (the notice then falls into the
    epoch's tail or its validation), a third of the way. ``steps`` and ``per_epoch`` count steps.
    """
    count = evictions + kills
    places = (1, per_epoch // 2, per_epoch, per_epoch // 3)
    kinds: list[Kind] = ["notice"] * evictions
    for index in range(kills):
        kinds.insert(min(2 + 3 * index, len(kinds)), "kill")
    points = []
    for index, kind in enumerate(kinds):
        epoch = (steps // per_epoch) * (index + 1) // (count + 1)
        points.append(Point(epoch * per_epoch + places[index % len(places)], kind))
    return points


def random_points(count: int, kills: int, steps: int, generator: random.Random) -> list[Point]:
    """``count`` points anywhere in the run, ``kills`` of them without notice.

    They lie at least a twentieth of the run apart, so that each attempt does some steps.
    """
    gap = max(1, steps // 20)
    free = steps - gap * (count + 1)
    if free < count:
        raise ValueError(f"{count} points do not fit into {steps} steps")
    places = sorted(generator.randrange(free) for _ in range(count))
    kinds: list[Kind] = ["notice"] * (count - kills)
    kinds += ["kill"] * kills
    generator.shuffle(kinds)
    return [
        Point(place + gap * (index + 1), kind)
        for index, (place, kind) in enumerate(zip(places, kinds, strict=True))
    ]
