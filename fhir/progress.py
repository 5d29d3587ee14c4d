"""What a delivery in several steps has already made: kept by the caller between tries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

_MADE: Final = "made "


def _forget(_receipt: Mapping[str, str]) -> None:
    """Keep nothing: each try begins anew, and finds what there is by its identifiers."""


@dataclass(slots=True)
class Progress:
    """`Type/id` on the server by `fullUrl`, as far as it is known.

    `keep` is called with the whole receipt after every step, before the next one is taken.
    """

    receipt: Mapping[str, str] = field(default_factory=dict)
    keep: Callable[[Mapping[str, str]], None] = _forget

    @property
    def places(self) -> dict[str, str]:
        """What is on the server already."""
        kept = (each for each in self.receipt.items() if each[0].startswith(_MADE))
        return {name.removeprefix(_MADE): place for name, place in kept}

    def add(self, made: Mapping[str, str]) -> None:
        """Note, and keep, what was made by one step."""
        new = {f"{_MADE}{full_url}": place for full_url, place in made.items()}
        self.receipt = {**self.receipt, **new}
        self.keep(self.receipt)
