from __future__ import annotations

from contextlib import nullcontext

from tests.benchmarks.ct_studies import MB
from tests.benchmarks.receive_tables import Run, case_lines, memory_lines
from tests.benchmarks.receivers import ORTHANC, STORESCP, Receiver


def _receiver(name: str) -> Receiver:
    return Receiver(name, "written", lambda folder: nullcontext())


def test_a_ratio_of_two_means_twice_as_fast_as_the_yardstick() -> None:
    times = {
        STORESCP: [Run(2.0, 100 * MB, 1.0)],
        ORTHANC: [Run(8.0, 100 * MB, 1.0)],
        "ours": [Run(1.0, 100 * MB, 0.5), Run(9.0, 100 * MB, 0.5), Run(0.5, 100 * MB, 0.1)],
    }

    *_, ours = case_lines([_receiver(name) for name in times], times)

    assert ours == "| ours | written | 1.00 | 0.50-9.00 | 100 | 2.00 | 8.00 | 5.0 |"


def test_a_yardstick_that_is_not_installed_has_no_column() -> None:
    head, *_ = case_lines([_receiver("ours")], {"ours": [Run(1.0, MB, 1.0)]})

    assert "| x " not in head


def test_growth_is_told_in_megabytes() -> None:
    assert memory_lines({"ours": 4 * MB})[-1] == "| ours | 4 |"
