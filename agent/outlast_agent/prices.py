"""What a store's cloud takes for requests, for what lies there and for what leaves. Pure.

List prices in US dollars, of :data:`AS_OF`, before any discount or free allowance, of large regions
in Europe and the USA; other regions may take twice as much. They were taken from what others
publish, not read from the clouds' own pages; those are named beside each, for whoever checks.
They weigh costs against each other and make an estimate for people: a bill is the cloud's.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Prices:
    """Of one object store."""

    write: float = 0.0
    """One request that creates or lists. Deleting is free in all of them."""
    gb_month: float = 0.0
    """A gigabyte (10^9 bytes) kept for a month."""


AS_OF = "2025"

FREE = Prices()

STORES = {
    # aws.amazon.com/s3/pricing: S3 Standard, PUT and LIST
    "s3": Prices(write=0.005 / 1000, gb_month=0.023),
    # azure.microsoft.com/pricing/details/storage/blobs: hot, locally redundant, write operations
    "az": Prices(write=0.055 / 10_000, gb_month=0.018),
    # cloud.google.com/storage/pricing: Standard in one region, class A operations
    "gs": Prices(write=0.005 / 1000, gb_month=0.020),
    "file": FREE,
}
"""By the scheme of a store's URL."""

LEAVING = {
    # aws.amazon.com/ec2/pricing/on-demand (data transfer out), azure.microsoft.com/pricing/details/
    # bandwidth, cloud.google.com/vpc/network-pricing: the first terabytes to the internet
    "aws": ("s3", 0.09),
    "azure": ("az", 0.087),
    "gcp": ("gs", 0.12),
}
"""By provider: the store of its own cloud, and what a gigabyte costs that leaves for another."""

MACHINE_USD_PER_HOUR = 0.10
"""Of a machine whose price is not known: a small spot machine."""


def of_store(url: str) -> Prices:
    """Of the store at ``url``; one that is not known here is free."""
    return STORES.get(url.partition(":")[0], FREE)


def leaving(provider: str, url: str) -> float:
    """US dollars for a gigabyte from a machine of ``provider`` to the store at ``url``.

    Within one cloud it is taken to be one region, where that is free.
    """
    own, price = LEAVING.get(provider, ("", 0.0))
    return 0.0 if url.partition(":")[0] in (own, "file") else price
