"""The table of watchers."""

from __future__ import annotations

from outlast_agent.spec import WatcherSpec
from outlast_agent.watchers.azure import AzureWatcher
from outlast_agent.watchers.base import NoWatcher, Watcher


def open_watcher(spec: WatcherSpec) -> Watcher:
    """The watcher that a job spec asks for."""
    match spec.kind:
        case "azure":
            return AzureWatcher(spec.endpoint, spec.resource)
        case "none":
            return NoWatcher()
