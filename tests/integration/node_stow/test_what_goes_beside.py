"""Over HTTP, too, key images and heat maps that are refused hold no result up."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import FileDataset

from node.errors import FormRefused
from storage.sent_objects import LEFT_OUT_KEY, SentObject
from tests.integration.node_receive.kept_pages import kept_with_key_images
from tests.integration.node_stow.scripted_stow import StowScript
from tests.integration.node_stow.stow_sending import Tries
from tests.peers.scripted_http import ScriptedHttpServer
from tests.unit.pipelines_objects.kept_explanation import kept_explanation
from tests.unit.pipelines_objects.kept_result import Kept

ALL = ["seg", "sr", "kos", "pr"]
NOT_SUPPORTED = 0x0122


@contextmanager
def answering(script: StowScript) -> Iterator[str]:
    with ScriptedHttpServer(script) as server:
        yield server.base_url


def refusing(*modalities: str, reason: int = NOT_SUPPORTED) -> Callable[[FileDataset], int]:
    return lambda instance: reason if instance.Modality in modalities else 0


def tries(folder: Path, made: Callable[[Path], Kept]) -> Tries:
    folder.mkdir()
    return Tries(made(folder))


def kinds(sent: tuple[SentObject, ...]) -> list[str]:
    return sorted(item.kind.name for item in sent)


@pytest.mark.parametrize("reason", [NOT_SUPPORTED, 0xC000, 0x0124])
def test_what_is_refused_is_left_out_and_on_record(tmp_path: Path, reason: int) -> None:
    script = StowScript(refusing("PR", reason=reason))
    trying = tries(tmp_path / "data", kept_with_key_images)
    with answering(script) as url:
        sent = trying.send(url, objects=ALL)
    assert kinds(sent) == ["KOS", "SEG", "SR"]
    assert script.modalities[:2] == [["SEG"], ["SR"]]
    assert trying.receipt[LEFT_OUT_KEY].startswith("PR: ")
    assert f"0x{reason:04X}" in trying.receipt[LEFT_OUT_KEY]


def test_all_of_it_arrives_where_it_is_taken(tmp_path: Path) -> None:
    script = StowScript()
    trying = tries(tmp_path / "data", kept_with_key_images)
    with answering(script) as url:
        assert kinds(trying.send(url, objects=ALL)) == ["KOS", "PR", "SEG", "SR"]
    assert LEFT_OUT_KEY not in trying.receipt


def test_a_report_whose_pictures_are_refused_goes_without_them(tmp_path: Path) -> None:
    script = StowScript(refusing("OT"))
    trying = tries(tmp_path / "data", kept_explanation)
    with answering(script) as url:
        sent = trying.send(url)
    assert script.modalities == [["OT"], ["SR"]]
    (report,) = script.stored.values()
    assert [report.SOPInstanceUID] == [item.sop_instance_uid for item in sent]
    refused: Any = script.posts[0][0]
    assert refused.SOPInstanceUID not in str(report)
    assert trying.receipt[LEFT_OUT_KEY].startswith("HEAT: ")


def test_key_images_alone_have_to_be_taken(tmp_path: Path) -> None:
    trying = tries(tmp_path / "data", kept_with_key_images)
    with answering(StowScript(refusing("KO"))) as url, pytest.raises(FormRefused):
        trying.send(url, objects=["kos"])


def test_outlines_stand_in_for_a_segmentation_and_key_images_alone_do_not(tmp_path: Path) -> None:
    script = StowScript(refusing("SEG"))
    trying = tries(tmp_path / "data", kept_with_key_images)
    with answering(script) as url:
        sent = trying.send(url, objects=ALL, fallback=["pr"])
        assert kinds(sent) == ["KOS", "PR", "SR"]
    script = StowScript(refusing("SEG", "SR", "PR"))
    trying = Tries(trying.kept)
    with answering(script) as url, pytest.raises(FormRefused):
        trying.send(url, objects=ALL, fallback=["pr"])
    assert script.stored == {}
