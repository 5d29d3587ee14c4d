from __future__ import annotations

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from storage.audit import list_audit
from tests.integration.node_receive.mr_study import ROOT, SERIES, mr_instance, write
from tests.integration.node_receive.running_listener import Running
from tests.integration.node_receive.sender import association, encoded, raw_file, request, store

PATIENT = "Änne"
PATIENT_ID = "MRN-4711"


def test_no_log_line_and_no_audit_entry_tells_who_the_patient_is(
    running: Running,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG)
    paths = []
    for number, patient_id in ((1, PATIENT_ID), (2, PATIENT_ID), (3, "MRN-4712")):
        dataset = mr_instance(number)
        dataset.PatientID = patient_id
        paths.append(write(dataset, tmp_path))
    cut = encoded(mr_instance(4))[:-50]
    paths.append(raw_file(tmp_path / "cut.dcm", cut, sop_instance_uid=f"{SERIES}.4"))
    broken = mr_instance(5)
    broken["SeriesInstanceUID"]._value = "1.2.MRN-4711"
    content = encoded(broken)
    paths.append(raw_file(tmp_path / "uid.dcm", content, sop_instance_uid=f"{SERIES}.5"))

    with association(running.port) as assoc:
        assert store(assoc, *paths) == [0, 0, 0xB000, 0xC000, 0xC000]
    request(running.port, calling="STRANGER")
    assert running.changes.acquire(timeout=10)

    out, err = capfd.readouterr()
    told = out + err + caplog.text + repr(list_audit(running.db, 100))
    assert "instance_refused" in told
    for secret in (PATIENT, "M\\xfcller", "MRN-", ROOT):
        assert secret not in told


def test_what_is_kept_is_named_by_uids_only(running: Running, tmp_path: Path) -> None:
    with association(running.port) as assoc:
        store(assoc, write(mr_instance(), tmp_path))

    kept = [path for path in running.files.data_dir.rglob("*") if path.is_file()]
    assert len(kept) == 1
    assert PATIENT not in str(kept[0])
    assert kept[0].name.startswith(f"{SERIES}.1.")


def test_receiving_and_routing_import_no_model_code() -> None:
    program = (
        "import sys\n"
        "import node.completeness, node.receive.receiver_process\n"
        "import node.routing, node.scu, node.send\n"
        "heavy = {'torch', 'monai', 'highdicom', 'fhir.resources'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)"
    )

    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)

    assert result.returncode == 0, result.stderr
