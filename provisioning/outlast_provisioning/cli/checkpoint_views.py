"""What ``outlast checkpoints`` shows, from the values of ``checkpoints``. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from outlast.manifest import Array, Manifest
from outlast_provisioning.checkpoints import Line
from outlast_provisioning.cli.views import ago
from outlast_provisioning.cli.visible import visible
from outlast_provisioning.units import size_for_people


def _text(said: str, style: str = "") -> Text:
    return Text(visible(said).replace("\n", "\\n"), style=style)


def _table(*headings: str) -> Table:
    table = Table(box=None, header_style="dim", pad_edge=False, padding=(0, 2, 0, 0))
    for heading in headings:
        right = heading in ("size", "adds", "bytes")
        table.add_column(heading, no_wrap=True, justify="right" if right else "left")
    return table


def checkpoint_table(lines: Sequence[Line], now: datetime) -> Table:
    """One line for each."""
    table = _table("checkpoint", "kind", "written", "size", "adds", "")
    table.columns[-1].no_wrap = False
    for line in lines:
        if line.trouble:
            told = _text(f"cannot be read: {line.trouble}", "red")
            table.add_row(str(line.id), "", "", "", "", told)
            continue
        table.add_row(
            str(line.id),
            _text(line.kind[:20]),
            _text(ago(line.written, now)),
            size_for_people(line.size),
            size_for_people(line.adds),
            _marks(line),
        )
    return table


def _marks(line: Line) -> Text:
    marks = Text()
    for there, mark, style in (
        (line.newest, "newest", "green"),
        (line.resume, "resume point", "green"),
        (line.set_aside, "set aside", "yellow"),
        (not line.finite, "not finite", "red"),
    ):
        if there:
            marks.append(f"{mark}  ", style=style)
    shown = "  ".join(f"{name[:40]} {v:.4g}" for name, v in list(line.metrics.items())[:6])
    why = f"kept: {', '.join(line.kept)[:200]}" if line.kept else "not kept"
    return marks + _text(f"{shown}  " if shown else "") + _text(why, "dim")


def manifest_view(manifest: Manifest) -> RenderableType:
    """All that it consists of."""
    head = Table.grid(padding=(0, 2))
    head.add_column(style="dim", no_wrap=True)
    head.add_column()
    finite = "" if manifest.finite else ", not all finite"
    metrics = "  ".join(f"{name} {value:.4g}" for name, value in manifest.metrics.items())
    for name, value in (
        ("checkpoint", str(manifest.id)),
        ("job", manifest.job),
        ("kind", manifest.kind),
        ("written", manifest.written),
        ("resumed from", manifest.parent or "nothing: it began anew"),
        ("size", f"{size_for_people(manifest.size)} in {len(manifest.objects)} objects"),
        ("metrics", metrics + finite),
        *((f"on: {name}", value) for name, value in sorted(manifest.fingerprint.items())),
    ):
        head.add_row(_text(name), _text(value))
    parts: list[RenderableType] = [head]
    for part in manifest.parts:
        of = f" of rank {part.rank}" if len(manifest.parts) > 1 else ""
        arrays = _table(f"variables{of}", "type", "shape", "bytes")
        for array in part.arrays:
            shape = "x".join(str(size) for size in array.shape) or "-"
            arrays.add_row(_text(array.name), _text(array.dtype), shape, _bytes(array))
        parts += [_text(""), arrays]
    if manifest.outputs:
        files = _table("output files", "bytes")
        for file in manifest.outputs:
            files.add_row(_text(file.path), size_for_people(file.size))
        parts += [_text(""), files]
    objects = _table("objects", "bytes")
    for ref in manifest.objects:
        objects.add_row(ref.key, size_for_people(ref.size))
    return Group(*parts, _text(""), objects)


def _bytes(array: Array) -> str:
    return size_for_people(sum(piece.length for piece in array.pieces))
