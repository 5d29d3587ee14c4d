from __future__ import annotations

import pytest

from node.errors import DeliveryError, PermanentDelivery, TransientDelivery
from node.store_status import failure_of


def _failure(status: int | None) -> DeliveryError | None:
    return failure_of(status, "Segmentation Storage", "PACS at host:104")


@pytest.mark.parametrize("status", [0x0000, 0x0001, 0x0107, 0x0111, 0x0116, 0xB000, 0xB006, 0xB007])
def test_stored_is_stored_also_with_a_warning_or_for_the_second_time(status: int) -> None:
    assert _failure(status) is None


@pytest.mark.parametrize("status", [None, 0xA700, 0xA7FF, 0x0110, 0x0213])
def test_a_busy_or_silent_pacs_is_tried_again(status: int | None) -> None:
    assert isinstance(_failure(status), TransientDelivery)


@pytest.mark.parametrize("status", [0xA800, 0xA900, 0xA9FF, 0xC000, 0xCFFF, 0x0122, 0x0124, 0x0117])
def test_a_refusal_names_status_and_sop_class(status: int) -> None:
    failure = _failure(status)

    assert isinstance(failure, PermanentDelivery)
    assert failure.code == f"status_{status:04x}"
    assert "Segmentation Storage" in failure.text
    assert f"0x{status:04X}" in failure.text


def test_every_16_bit_status_has_a_meaning() -> None:
    verdicts = {type(_failure(status)) for status in range(0x10000)}

    assert verdicts == {type(None), TransientDelivery, PermanentDelivery}
