"""How often uploads are made: within the link, the training time and the money."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from outlast.cadence import INTERFERENCE
from outlast_agent import prices
from outlast_agent.prices import Prices
from outlast_agent.sync.cadence import LINK_SHARE, MONEY_SHARE, Cadence

GB = 10**9
LOCAL = Cadence()
S3 = Cadence(prices=prices.of_store("s3://bucket/x"), usd_per_hour=0.2)

sizes = st.integers(0, 100 * GB)
counts = st.integers(0, 2000)
rates = st.floats(1e5, 1e11)
cadences = st.builds(
    Cadence,
    max_overhead=st.floats(1e-3, 0.5),
    between_losses=st.floats(300, 1e7),
    prices=st.builds(Prices, st.floats(0, 1e-4), st.just(0.0)),
    usd_per_gb=st.floats(0, 0.2),
    usd_per_hour=st.floats(0.01, 50),
)


@given(cadences, sizes, counts, rates)
def test_neither_link_nor_money_nor_training_pays_more_than_its_share(cadence, size, objects, rate):
    every = cadence.interval(size, objects, rate)
    within = every * (1 + 1e-9)
    assert size / rate <= LINK_SHARE * within
    assert INTERFERENCE * size / rate <= cadence.max_overhead * within
    assert cadence.usd(size, objects) * 3600 <= MONEY_SHARE * cadence.usd_per_hour * within


@given(
    cadence=cadences, size=sizes, objects=counts, rate=rates, more=sizes, others=counts,
    times=st.floats(1, 100),
)  # fmt: skip
def test_what_costs_more_goes_up_no_more_often(
    *, cadence, size, objects, rate, more, others, times
):
    now = cadence.interval(size, objects, rate) * (1 - 1e-9)
    assert cadence.interval(size + more, objects, rate) >= now
    assert cadence.interval(size, objects + others, rate) >= now
    assert cadence.interval(size, objects, rate / times) >= now
    rarer = replace(cadence, between_losses=cadence.between_losses * times)
    assert rarer.interval(size, objects, rate) >= now
    cheaper = replace(cadence, usd_per_hour=cadence.usd_per_hour / times)
    assert cheaper.interval(size, objects, rate) >= now


def test_a_wish_is_a_wish_and_the_first_upload_goes_at_once():
    assert Cadence(7.0).interval(GB, 100, 1e3) == 7.0
    assert Cadence(0.0).interval(GB, 100, 1e3) == 0.0
    assert S3.interval(GB, 100, None) == 0.0


def test_what_is_small_goes_often_and_what_is_large_as_often_as_the_bounds_let_it():
    assert LOCAL.interval(10**6, 1, 1e9) < 1.1
    assert round(LOCAL.interval(GB, 16, 1e9)) == 33  # Daly's
    assert LOCAL.interval(100 * GB, 1600, 1e9) == 1000  # 10 s of each 1000
    assert round(S3.interval(10**6, 1, 1e9)) == 62  # four requests are 0.36 s of the machine
    assert round(S3.interval(GB, 16, 1e8)) == 169
    other_cloud = replace(S3, usd_per_gb=prices.leaving("azure", "s3://bucket/x"))
    assert round(other_cloud.interval(GB, 16, 1e8) / 3600, 1) == 4.4  # $0.087 an upload


def test_prices():
    assert prices.of_store("file:///srv") == prices.FREE == prices.of_store("memory:")
    assert prices.leaving("aws", "s3://b") == prices.leaving("local", "s3://b") == 0
    assert prices.leaving("aws", "file:///srv") == 0
    assert prices.leaving("gcp", "az://a/c") == 0.12
