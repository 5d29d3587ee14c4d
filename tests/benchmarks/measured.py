"""Runs a command and writes what it took: `python -I -S measured.py OUT.json COMMAND...`.

A process of its own, because the kernel counts the memory of whoever starts a program to that
program's peak: here the starter is smaller than any program that is measured. CPU time and peak
hold the command's own children, too, once it has waited for them; the peak is that of the largest.
"""

import json
import os
import sys
import time
from pathlib import Path


def main() -> int:
    """Give the command's exit status."""
    out, *command = sys.argv[1:]
    started = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, os.environ)
    _, status, usage = os.wait4(pid, 0)
    figures = {
        "elapsed_s": time.perf_counter() - started,
        "cpu_s": usage.ru_utime + usage.ru_stime,
        "peak_mib": usage.ru_maxrss / 1024,
    }
    Path(out).write_text(json.dumps(figures))
    return os.waitstatus_to_exitcode(status)


if __name__ == "__main__":
    sys.exit(main() & 0xFF)
