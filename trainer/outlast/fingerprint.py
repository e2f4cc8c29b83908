"""What the bits of a training run depend on: machine, thread counts, library versions."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path

_LIBRARIES = ("numpy", "scikit-learn", "tensorflow", "keras", "torch", "jax", "jaxlib")
_MODULES = {"scikit-learn": "sklearn"}
# The widest of these decides which kernels the libraries choose, and so the order of sums.
_INSTRUCTION_SETS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2", "avx", "sse4_2", "sve", "asimd")
_THREADS = ("OMP_NUM_THREADS", "TF_NUM_INTRAOP_THREADS", "TF_NUM_INTEROP_THREADS")

_WORDS = {
    "cpu": "the processor",
    "instructions": "the instruction set",
    "threads": "the number of processors",
    "gpu": "the GPU",
    "python": "the version of Python",
    "platform": "the kind of machine",
}


def fingerprint(
    *,
    cpuinfo: Path = Path("/proc/cpuinfo"),
    gpus: Path = Path("/proc/driver/nvidia/gpus"),
    environ: Mapping[str, str] | None = None,
) -> dict[str, str]:
    """What this process's bits depend on. Only libraries that are imported already are named."""
    env = os.environ if environ is None else environ
    model, flags = _cpu(cpuinfo)
    told = {
        "platform": platform.machine(),
        "cpu": model,
        "instructions": next((name for name in _INSTRUCTION_SETS if name in flags), ""),
        "threads": str(len(os.sched_getaffinity(0))),
        "gpu": _gpu(gpus),
        "python": platform.python_version(),
    }
    told.update({name: env[name] for name in _THREADS if env.get(name)})
    for library in _LIBRARIES:
        if _MODULES.get(library, library) in sys.modules:
            told[library] = _version(library)
    return {name: value for name, value in told.items() if value}


def differences(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    """What is not as it was, a line each: ``the instruction set was avx512f and is avx2``.

    The processor's model alone is not named: equal instruction sets choose equal kernels. A
    library that one side had not imported is no difference.
    """
    lines = []
    for name in sorted(old.keys() | new.keys()):
        before, after = old.get(name), new.get(name)
        if before == after or name == "cpu":
            continue
        if (before is None or after is None) and name in _LIBRARIES:
            continue
        what = _WORDS.get(name, name)
        lines.append(f"{what} was {before or 'not there'} and is {after or 'not there'}")
    return lines


@cache  # asked at every save
def _cpu(cpuinfo: Path) -> tuple[str, frozenset[str]]:
    model, flags = "", frozenset[str]()
    try:
        with cpuinfo.open(encoding="utf-8", errors="replace") as lines:
            for line in lines:
                name, _, value = line.partition(":")
                if name.strip() == "model name":
                    model = value.strip()
                elif name.strip() in ("flags", "Features"):
                    flags = frozenset(value.split())
                elif not line.strip() and flags:
                    break  # the first processor speaks for all
    except OSError:
        pass
    return model, flags


@cache
def _gpu(gpus: Path) -> str:
    models = set()
    try:
        for information in sorted(gpus.glob("*/information")):
            for line in information.read_text(errors="replace").splitlines():
                name, _, value = line.partition(":")
                if name.strip() == "Model":
                    models.add(value.strip())
    except OSError:
        return ""
    return ", ".join(sorted(models))


@cache
def _version(library: str) -> str:
    try:
        return metadata.version(library)
    except metadata.PackageNotFoundError:
        return str(getattr(sys.modules.get(library), "__version__", ""))
