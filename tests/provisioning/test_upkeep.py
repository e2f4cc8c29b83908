"""What saving will cost, told before anything is measured."""

from __future__ import annotations

import pytest

from outlast_agent.spec import JobSpec
from outlast_agent.sync.collect import Best, Rule
from outlast_provisioning import upkeep
from outlast_provisioning.job import upkeep as upkeep_of_job
from outlast_provisioning.upkeep import estimate, in_words
from provisioning.simulated import job

GB = 10**9


def spec(store: str = "s3://bucket/x", usd_per_gb: float = 0.0, **checkpoint: object) -> JobSpec:
    return JobSpec.model_validate(
        {
            "job": "digits",
            "launch": 1,
            "machine": "m",
            "store": store,
            "runtime": "docker",
            "command": ("x",),
            "usd_per_hour": 0.2,
            "usd_per_gb": usd_per_gb,
            "checkpoint": checkpoint,
        }
    )


def test_requests_and_what_is_kept_are_paid_for() -> None:
    found = estimate(spec(every_seconds=30.0, durable_every_seconds=60.0), GB)
    assert (found.every, found.durable_every, found.kept) == (30, 60, 3 * GB)
    # 1440 uploads a day of 15 objects and 3 requests, at $5 a million; 3 GB at $0.023 a month
    assert found.requests_usd == pytest.approx(1440 * 18 * 5e-6)
    assert found.kept_usd == pytest.approx(3 * 0.023 / 30)
    assert found.traffic_usd == 0
    assert found.usd == pytest.approx(found.requests_usd + found.kept_usd)
    more = estimate(spec(keep=Rule(3, best=Best("loss", "min", 2))), GB)
    assert more.kept == 5 * GB


def test_chosen_intervals_keep_the_money_within_the_share() -> None:
    for cloud in ("s3", "az", "gs"):
        for size in (*upkeep.SIZES, 100 * GB):
            for usd_per_gb in (0.0, 0.09):
                found = estimate(spec(f"{cloud}://b/x", usd_per_gb), size)
                paid = found.requests_usd + found.traffic_usd
                assert paid <= 0.1 * 0.2 * 24 * 1.0001
                assert found.durable_every >= found.every
                assert size / upkeep.LINK <= 0.25 * found.durable_every


def test_no_upload_begins_before_the_last_is_up() -> None:
    assert estimate(spec(every_seconds=1.0, durable_every_seconds=1.0), GB).durable_every == 10


def test_in_words() -> None:
    the_spec = spec(every_seconds=30.0, durable_every_seconds=60.0)
    first, last = in_words(the_spec, [estimate(the_spec, GB)])
    assert first == (
        "Saves, for 1 GB of state: every 30 s on the machine, durable every 1 min; requests and "
        "traffic about $0.13 a day, 3 GB kept less than $0.01 a day."
    )
    assert "list prices of 2025" in last
    the_spec = spec(max_overhead=0.005, usd_per_gb=0.09)
    first, bound, last = in_words(the_spec, [estimate(the_spec, GB)])
    assert "about every" in first
    assert "durable about every 4 h 30 min" in first
    assert bound.startswith("They take at most 0.5% of the training time")


def test_of_a_job() -> None:
    the_spec, found = upkeep_of_job(job(checkpoint={"every": "20s"}))
    assert [one.every for one in found] == [20, 20]
    assert the_spec.checkpoint.every_seconds == 20
    assert all(one.usd == 0 for one in found)  # a folder
