import itertools
import random

import pytest

from outlast_provisioning.demo.plan import random_points, spread_points


def test_points_are_spread_and_at_different_places_in_an_epoch():
    points = spread_points(3, 1, steps=3600, per_epoch=45)
    assert [point.kind for point in points].count("kill") == 1
    assert len({point.step % 45 for point in points}) == 4
    assert sorted(point.step for point in points) == [point.step for point in points]
    assert points[0].step > 0
    assert points[-1].step < 3600


@pytest.mark.parametrize("seed", range(20))
def test_random_points_leave_each_attempt_something_to_do(seed):
    points = random_points(5, 1, steps=900, generator=random.Random(seed))
    steps = [0, *(point.step for point in points), 900]
    assert min(b - a for a, b in itertools.pairwise(steps)) >= 45
    assert [point.kind for point in points].count("kill") == 1


def test_too_many_points_are_refused():
    with pytest.raises(ValueError, match="do not fit"):
        random_points(30, 0, steps=100, generator=random.Random(0))
