"""How a value is told to people."""

from __future__ import annotations

from storage.quantities import with_unit


def test_a_value_without_a_dimension_is_told_without_a_unit() -> None:
    assert with_unit("0.97", "1") == "0.97"
    assert with_unit("2.00", "mL") == "2.00 mL"
    assert with_unit("10.65", "%") == "10.65 %"
