"""Looking into scratch as soon as something changes there; the listing stays the truth."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

from watchdog.events import (
    FileClosedEvent,
    FileCreatedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer

from outlast_agent.sync import beneath

_LOOKED_AT = [FileMovedEvent, FileCreatedEvent, FileClosedEvent]


def watch(roots: Iterable[Path], attempt: int, look: Callable[[], None]) -> Callable[[], None]:
    """Call ``look`` when the library has written something; what is returned ends that.

    ``roots`` are laid out as scratch is. Raises OSError: a folder is not there, or no more can be
    watched on this machine.
    """

    class Handler(FileSystemEventHandler):
        def on_any_event(self, event: FileSystemEvent) -> None:
            if not event.is_directory:
                look()

    observer = Observer()
    for root in roots:
        for folder in (root / "checkpoints", root / "objects" / f"{attempt:06d}"):
            with beneath.open_folder(root, *folder.relative_to(root).parts):
                pass  # no link to elsewhere
            observer.schedule(Handler(), str(folder), event_filter=_LOOKED_AT)
    observer.start()
    return observer.stop
