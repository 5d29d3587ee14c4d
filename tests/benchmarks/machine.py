"""What the figures of a benchmark were measured on."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median

_LIBRARIES = ("pynetdicom", "pydicom", "sqlalchemy")


def machine_lines(folder: Path, libraries: Sequence[str] = _LIBRARIES) -> list[str]:
    """Return Markdown lines on the machine, its file system at `folder`, and all versions."""
    facts = {
        "CPU": f"{_cpu_name()}, {len(os.sched_getaffinity(0))} cores usable",
        "memory": f"{_memory_gib():.0f} GiB",
        "kernel": f"{platform.system()} {platform.release()}",
        "file system": _file_system(folder),
        "Python": f"{platform.python_implementation()} {platform.python_version()}",
        "libraries": ", ".join(f"{name} {version(name)}" for name in libraries),
        **_programs(),
    }
    return ["| | |", "|---|---|", *(f"| {name} | {value} |" for name, value in facts.items())]


def _cpu_name() -> str:
    text = Path("/proc/cpuinfo").read_text()
    found = re.search(r"^model name\s*: (.+)$", text, re.MULTILINE)
    return found.group(1) if found else platform.machine()


def _memory_gib() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30


def _file_system(folder: Path) -> str:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    holding = [fields for fields in mounts if folder.resolve().is_relative_to(fields[1])]
    kind = max(holding, key=lambda fields: len(fields[1]))[2]
    return f"{kind}; to write and fsync 0.5 MB takes {_fsync_ms(folder):.1f} ms (median of 20)"


def _fsync_ms(folder: Path) -> float:
    path, content, times_ms = folder / "fsync.probe", os.urandom(500_000), []
    for _ in range(20):
        started = time.perf_counter()
        with path.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        times_ms.append(1000 * (time.perf_counter() - started))
    path.unlink()
    return median(times_ms)


def _programs() -> dict[str, str]:
    """Return the versions of the counterparts that this machine has."""
    commands = {
        "DCMTK": ["storescp", "--version"],
        "Orthanc": ["Orthanc", "--version"],
        "PostgreSQL": [_postgres(), "--version"],
    }
    told = {name: _version(command) for name, command in commands.items()}
    return {name: text for name, text in told.items() if text}


def _postgres() -> str:
    return str(next(iter(Path("/usr/lib/postgresql").glob("*/bin/postgres")), "postgres"))


def _version(command: list[str]) -> str:
    if shutil.which(command[0]) is None:
        return ""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    found = re.search(r"\d+\.\d+(\.\d+)?", done.stdout)
    return found.group(0) if found else ""


def command_line() -> str:
    """Return the command that repeats this run."""
    module = getattr(sys.modules["__main__"].__spec__, "name", "")
    return " ".join(["python -m", module, *_without_write(sys.argv[1:])])


def _without_write(arguments: list[str]) -> list[str]:
    if "--write" not in arguments:
        return arguments
    at = arguments.index("--write")
    return arguments[:at] + arguments[at + 2 :]
