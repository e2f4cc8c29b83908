"""Keep containers from the machine's identity: its metadata addresses, for their TCP connections.

Whoever reaches a cloud's metadata service gets tokens in the machine's name. Packets of
containers come through a bridge, so they pass the engine's chain ``DOCKER-USER`` (or ``INPUT``,
where a service on the machine itself answers at the address); the machine's own never do.
Name service on the same addresses (Azure, Google) stays open.

Not covered: a container engine with IPv6 networks (Docker's are IPv4 unless configured).
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence

from outlast_agent.runtimes.base import CannotStartError

ADDRESSES = ("169.254.169.254", "168.63.129.16")
"""Metadata of Azure, AWS and Google; Azure's own agent's service."""

_SECONDS = 20.0


def ensure(addresses: Sequence[str] = ADDRESSES) -> None:
    """Put the rules in place, if they are not. Raises CannotStartError if that fails.

    Only root can; a daemon that is not root runs on a person's own machine, by the local
    provider, where no metadata service answers.
    """
    if os.geteuid() != 0:
        return
    forward = "DOCKER-USER" if _iptables("-n", "-L", "DOCKER-USER") is None else "FORWARD"
    for address in addresses:
        for rule in rules(address, forward):
            if _iptables("-C", *rule) is None:
                continue
            fault = _iptables("-I", *rule)
            if fault is not None:
                raise CannotStartError(
                    "error",
                    f"the container cannot be kept from this machine's identity at {address}: "
                    f"{fault}: install iptables on the machine",
                )


def rules(address: str, forward: str) -> list[tuple[str, ...]]:
    """Chain and rule, for packets that are passed on and for those that are taken in."""
    match = ("-d", f"{address}/32", "-p", "tcp", "!", "--dport", "53")
    refuse = ("-j", "REJECT", "--reject-with", "tcp-reset")
    return [(forward, *match, *refuse), ("INPUT", "!", "-i", "lo", *match, *refuse)]


def _iptables(*arguments: str) -> str | None:
    """None if it went well, else what it said."""
    try:
        done = subprocess.run(
            # -w: another program may hold the lock of the tables.
            ["iptables", "-w", "5", *arguments],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return None if done.returncode == 0 else " ".join(done.stderr.split())[:200] or "it failed"
