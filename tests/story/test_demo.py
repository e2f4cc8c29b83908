"""The demo's story in small: real controller, real daemons, real Keras, two lost machines."""

import pytest
from rich.console import Console

from outlast_provisioning.demo.plan import Point
from outlast_provisioning.demo.story import Demo

pytestmark = pytest.mark.live


def test_a_job_that_lost_two_machines_ends_with_the_same_bits(tmp_path):
    demo = Demo(tmp_path, Console(quiet=True), grace=30.0, epochs=6)
    reference = demo.reference()
    assert len(reference.steps) == 6 * 45
    job = demo.job("job", [Point(60, "notice"), Point(150, "kill")], len(reference.steps))
    report = demo.report(job, reference, equal=None)
    assert [cost.kind for cost in report.losses] == ["notice", "kill"]
    assert report.comparison.mismatching_variables == ()
    assert report.comparison.history_equal
    assert report.comparison.log_equal
    assert report.losses[0].repeated_steps == 0
    assert report.passed
