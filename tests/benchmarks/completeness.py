"""How soon after the last C-STORE response a study's job starts, by what proves it complete.

`python -m tests.benchmarks.completeness` runs a node with its worker, and beside it a PACS that
answers C-FIND with counts. `make bench-completeness` is the same.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from config.settings import CompletenessSettings
from tests.acceptance.radnode_process import RadnodeProcess
from tests.benchmarks.arrivals import CASES, Case, Site
from tests.benchmarks.completeness_tables import Arrival, arrival_lines
from tests.benchmarks.machine import command_line, machine_lines
from tests.benchmarks.page import write_section
from tests.integration.node_receive.counting_pacs import CountingPacs

SECTION = "completeness"
QUICK_QUIET_TIME_S = 2.0


def _arguments() -> argparse.Namespace:
    default_s = CompletenessSettings().quiet_time_s
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=8, help="of each case with proof")
    parser.add_argument("--quiet-studies", type=int, default=3, help="of each case without")
    parser.add_argument("--quiet-time", type=float, default=default_s, help="seconds")
    parser.add_argument("--quick", action="store_true", help="two studies, a short quiet time")
    parser.add_argument("--write", type=Path, help="page whose section is replaced")
    given = parser.parse_args()
    if given.quick:
        given.studies, given.quiet_studies, given.quiet_time = 2, 1, QUICK_QUIET_TIME_S
    return given


def _settings(folder: Path, pacs: CountingPacs, quiet_time_s: float) -> dict[str, Any]:
    """Defaults, but for addresses, the quiet time, and retries in a test's rhythm."""
    find = {"find_host": "127.0.0.1", "find_port": pacs.port, "find_ae_title": pacs.ae_title}
    return {
        "node": {"data_dir": str(folder / "data")},
        "receive": {
            "port": 0,
            "senders": [{"ae_title": "PACS", **find}, {"ae_title": "SCANNER"}],
        },
        "completeness": {"quiet_time_s": quiet_time_s},
        "worker": {"device": "cpu"},
        "destinations": [{"type": "folder", "name": "out", "folder": str(folder / "out")}],
    }


@contextmanager
def _site(folder: Path, quiet_time_s: float) -> Iterator[Site]:
    with CountingPacs() as pacs:
        settings = _settings(folder, pacs, quiet_time_s)
        with RadnodeProcess(folder, settings) as node:
            node.wait_for("worker_ready")
            yield Site(folder, node, pacs, quiet_time_s)


def _measured(site: Site, case: Case, studies: int) -> list[Arrival]:
    arrivals = []
    for number in range(1, studies + 1):
        arrival = case.measure(site)
        arrivals.append(arrival)
        sys.stderr.write(f"{case.name}, study {number}: {arrival.started_s:.2f} s\n")
    return arrivals


def _run(folder: Path, given: argparse.Namespace) -> list[str]:
    lines = [f"{datetime.now(UTC):%Y-%m-%d}, `{command_line()}`", ""]
    lines += [*machine_lines(folder), ""]
    with _site(folder, given.quiet_time) as site:
        results = {
            case.name: _measured(
                site, case, given.studies if case.is_proof else given.quiet_studies
            )
            for case in CASES
        }
    return [*lines, *arrival_lines(results, given.quiet_time)]


def main() -> None:
    """Measure, print the page, and write it where it is wanted."""
    given = _arguments()
    with tempfile.TemporaryDirectory(prefix="bench-completeness-") as folder:
        lines = _run(Path(folder), given)
    sys.stdout.write("\n".join(lines) + "\n")
    if given.write:
        write_section(given.write, SECTION, lines)


if __name__ == "__main__":
    main()
