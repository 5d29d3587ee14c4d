"""A kept result that is delivered over HTTP."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.node_stow.stow_sending import Tries
from tests.unit.pipelines_objects.kept_result import kept_result
from tests.unit.pipelines_objects.synthetic_series import classic_series


@pytest.fixture
def tries(tmp_path: Path) -> Tries:
    folder = tmp_path / "data"
    folder.mkdir()
    return Tries(kept_result(folder, classic_series((6, 40, 48))))
