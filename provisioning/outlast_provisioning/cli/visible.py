"""What jobs, stores and files say, made fit for a terminal: nothing in it steers the terminal.

A job's log, a record in a shared store or a key of a job file may hold escape sequences that
move the cursor, set the title or answer questions. Pure.
"""

from __future__ import annotations

import re

_CONTROLS = {
    code: f"\\x{code:02x}" for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\n\t"
} | {0xDC00 + byte: f"\\x{byte:02x}" for byte in range(0x80, 0x100)}
"""The second: bytes of a name that is no text of this machine's encoding, as Python keeps them."""
_OF_LOGS = re.compile(r"\x1b\[[0-9;]*m|\x08|\r(?=\n)")
"""Colours, and what progress bars go back with."""


def visible(text: str) -> str:
    r"""``text`` with what is no text of it, and controls save \n and \t, written out: ``\x1b``."""
    return text.translate(_CONTROLS)


def visible_log(text: str) -> str:
    """A log for a terminal: without colours, each state of a progress bar a line of its own."""
    return visible(_OF_LOGS.sub("", text).replace("\r", "\n"))
