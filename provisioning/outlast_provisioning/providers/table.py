"""The table of providers. A provider's own libraries are imported only when it is made."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from outlast_provisioning.providers.base import Provider


def _local(home: Path) -> Provider:
    from outlast_provisioning.providers.local import LocalProvider  # noqa: PLC0415

    return LocalProvider(home)


PROVIDERS: Mapping[str, Callable[[Path], Provider]] = {"local": _local}
"""Name to maker; the argument is Outlast's own folder on this machine."""


def make_providers(home: Path, names: Iterable[str] = PROVIDERS) -> dict[str, Provider]:
    """The named providers, ready to use."""
    return {name: PROVIDERS[name](home) for name in names}
