from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from config.load import load_settings
from node.demo.errors import NodeDidNotStart
from node.demo.node_process import AE_TITLE, NodeProcess, configuration
from node.demo.run import run_demo


def test_the_configuration_is_one_that_the_node_accepts(tmp_path: Path) -> None:
    path = tmp_path / "node.yaml"
    path.write_text(yaml.safe_dump(dict(configuration(tmp_path, "DEMO_PACS", 4242))))

    settings = load_settings(path)

    assert settings.node.ae_title == AE_TITLE
    assert settings.node.data_dir == tmp_path / "node"
    assert [one.ae_title for one in settings.receive.senders] == ["DEMO_PACS"]
    assert settings.receive.senders[0].find_port == 4242
    assert [one.type for one in settings.destinations] == ["dicom", "folder"]
    assert settings.storage.database_url is None


def test_a_node_that_ends_at_once_is_reported_with_its_log(tmp_path: Path) -> None:
    settings = {**configuration(tmp_path, "DEMO_PACS", 4242), "no_such_section": 1}
    log = tmp_path / "node.log"

    with (
        NodeProcess(tmp_path, settings, log) as node,
        pytest.raises(NodeDidNotStart, match=r"node\.log"),
    ):
        node.wait_until_it_answers(lambda port, title: True)

    assert "no_such_section" in log.read_text()


def test_the_demo_leaves_a_folder_of_others_alone_and_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "thesis.txt").write_text("do not delete")

    assert run_demo(tmp_path) == 1
    assert "--out" in capsys.readouterr().out
    assert (tmp_path / "thesis.txt").exists()
