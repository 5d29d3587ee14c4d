"""The command line, run in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import yaml

from node import cli


class Done(NamedTuple):
    code: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["radnode", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int | None)
        return Done(ended.value.code or 0, out, err)

    return run


@pytest.fixture
def config(tmp_path: Path) -> Path:
    return write_config(tmp_path)


def write_config(tmp_path: Path, **sections: Any) -> Path:
    path = tmp_path / "node.yaml"
    settings = {
        "node": {"data_dir": "data"},
        "receive": {"senders": [{"ae_title": "PACS"}]},
        **sections,
    }
    path.write_text(yaml.safe_dump(settings))
    return path
