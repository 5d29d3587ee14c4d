"""Malformed and unusual files, sent byte by byte: each is stored or refused, and the node lives."""

from __future__ import annotations

import re
import sys
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import pydicom
import pytest

from tests.acceptance.radnode_process import RadnodeProcess
from tests.acceptance.small_study import write_small_study
from tests.benchmarks.process_tree import tree
from tests.peers.dcmtk import storescu
from tests.peers.odd_files import odd_file
from tests.peers.part10 import data_set_of
from tests.peers.raw_scu import IMPLICIT_LITTLE_ENDIAN, VERIFICATION, Proposal, RawAssociation
from tests.peers.real_images import FOLDER, images_of

FOLDERS = (
    "fuzz_pwnlab",
    "hard_charset",
    "hard_dcm_qa",
    "hard_dicom2nifti",
    "hard_pydicom_data",
    "hard_pydicom_tests",
)
MR = "1.2.840.10008.5.1.4.1.1.4"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RadnodeProcess]:
    """A node that takes every study up at once, so that routing meets the odd ones, too."""
    folder = tmp_path_factory.mktemp("odd")
    settings = {
        "node": {"data_dir": str(folder / "data")},
        "storage": {"disk_low_mib": 16},
        "receive": {"port": 0, "senders": [{"ae_title": "PACS"}]},
        "completeness": {"quiet_time_s": 1, "quiet_time_after_abort_s": 1},
        "worker": {"enabled": False},
    }
    with RadnodeProcess(folder, settings) as running:
        yield running


@pytest.fixture
def living_node(node: RadnodeProcess, tmp_path: Path) -> Iterator[RadnodeProcess]:
    """The node; after the test the same processes must still answer and store."""
    before = set(tree((node.pid,)))
    yield node
    assert set(tree((node.pid,))) == before
    _is_well(node, tmp_path)


def _is_well(node: RadnodeProcess, folder: Path) -> None:
    study = write_small_study(folder / "good")
    proposals = [Proposal(VERIFICATION, (IMPLICIT_LITTLE_ENDIAN,)), Proposal(MR)]
    with RawAssociation(node.port, proposals) as association:
        assert association.echo(0).status == 0
        for path, uid in zip(study.paths[:3], study.sop_instance_uids[:3], strict=True):
            assert association.store(1, MR, uid, data_set_of(path)).status == 0


def _send_each(node: RadnodeProcess, paths: Iterable[Path]) -> Counter[str]:
    """Send files one by one; any end without a status raises and names the file."""
    counts: Counter[str] = Counter()
    for path in paths:
        try:
            answer, is_accepted = odd_file(path).send(node.port)
        except Exception as error:
            raise AssertionError(f"{path.name} got no status") from error
        told = answer.comment or "Success"
        context = "" if is_accepted else ", as Secondary Capture"
        counts[f"0x{answer.status:04X} {told}{context}"] += 1
    return counts


def _print(folder: str, counts: Mapping[str, int]) -> None:
    lines = [f"{number:6} {answer}" for answer, number in sorted(counts.items())]
    sys.stdout.write("\n".join([f"\n{folder}", *lines, ""]))


def _is_stored_or_refused(answer: str) -> bool:
    return answer.startswith(("0x0000", "0xB000 Quarantined", "0xA9", "0xC"))


def _files(folder: Path) -> list[Path]:
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    assert found, folder
    return found


@pytest.mark.peer("real_images")
@pytest.mark.parametrize("folder", FOLDERS)
def test_each_file_is_stored_or_refused_with_a_status(
    living_node: RadnodeProcess, folder: str
) -> None:
    counts = _send_each(living_node, images_of(folder))

    _print(folder, counts)
    assert any(answer.startswith("0x0000") for answer in counts)
    assert [answer for answer in counts if not _is_stored_or_refused(answer)] == []


@pytest.mark.peer("real_images", "dcmtk")
@pytest.mark.parametrize("folder", FOLDERS)
def test_what_storescu_can_send_of_them_is_answered(
    living_node: RadnodeProcess, folder: str
) -> None:
    options = ("+sd", "+r", "--no-halt", "--required")
    done = storescu(
        living_node.port, [FOLDER / folder], calling="PACS", called="RADNODE", options=options
    )

    counts = Counter(re.findall(r"Received Store Response \((.*)\)", done.stdout))
    _print(f"{folder}, by storescu", counts)
    assert done.returncode == 0, done.stdout
    assert counts["Success"] > 0
    assert "Abort" not in done.stdout


def test_a_librarys_own_test_files_are_stored_or_refused(living_node: RadnodeProcess) -> None:
    folder = Path(pydicom.__file__).parent / "data"
    small = [path for path in _files(folder) if path.stat().st_size < 200_000]

    counts = _send_each(living_node, small)

    _print("pydicom", counts)
    assert len(counts) > 2
    assert [answer for answer in counts if not _is_stored_or_refused(answer)] == []


def test_files_that_are_no_dicom_at_all_are_refused(
    living_node: RadnodeProcess, tmp_path: Path
) -> None:
    contents = (b"", b"\0", b"\0" * 131, b"\0" * 128 + b"DICM", b"text " * 100, b"\xff" * 5000)
    paths = [tmp_path / f"{number}" for number in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(content)

    counts = _send_each(living_node, paths)

    assert [answer for answer in counts if not answer.startswith("0xC000")] == []


def test_none_of_it_was_more_than_the_node_can_say(node: RadnodeProcess, tmp_path: Path) -> None:
    _is_well(node, tmp_path)
    node.wait_until_shown(
        lambda: all(study["state"] == "routed" for study in node.studies()),
        what="the routing of all studies",
    )

    assert [event for event in node.events() if event["level"] in ("error", "critical")] == []
