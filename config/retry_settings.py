"""How long, and how often, a destination is tried."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from config.setting_types import Frozen, Seconds


class RetrySettings(Frozen):
    """One destination's retry curve: doubling from first to longest, until it gives up."""

    first_s: Seconds = 30
    longest_s: Seconds = 600
    give_up_after_days: Annotated[float, Field(gt=0)] = 7
