"""A Part 10 file as the receiver sees it arrive, without a network."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from pydicom import dcmread

from node.receive.arriving_instance import ArrivingInstance
from node.receive.instance_header import InstanceHeader
from storage.database import Database
from storage.dicom_records import IncomingInstance
from storage.instance_files import InstanceFiles
from storage.instances import record_instance


def arrived(path: Path, transfer_syntax_uid: str) -> tuple[InstanceHeader, str]:
    """Return identity and digest of a file that begins with a group length (PS3.10 7.1)."""
    content = path.read_bytes()
    end_of_head = 144 + int.from_bytes(content[140:144], "little")
    arriving = ArrivingInstance(transfer_syntax_uid)
    arriving.take(memoryview(content)[end_of_head:])
    return arriving.finish(), arriving.dataset_digest()


def keep(db: Database, files: InstanceFiles, path: Path, received_at: datetime) -> Path:
    """Keep one instance as the listener does; return its file."""
    syntax = str(dcmread(path, stop_before_pixels=True).file_meta.TransferSyntaxUID)
    header, digest = arrived(path, syntax)
    with files.open_incoming() as incoming:
        incoming.write(path.read_bytes())
        place = incoming.keep(
            header.study.study_instance_uid,
            header.series.series_instance_uid,
            header.sop_instance_uid,
        )
    record_instance(
        db,
        IncomingInstance(
            study=header.study,
            series=header.series,
            sop_instance_uid=header.sop_instance_uid,
            sop_class_uid=header.sop_class_uid,
            transfer_syntax_uid=syntax,
            instance_number=header.instance_number,
            path=place,
            size_bytes=path.stat().st_size,
            dataset_digest=digest,
            calling_ae_title="PACS",
            association_id=None,
            is_own_result=False,
            received_at=received_at,
        ),
    )
    return files.absolute(place)
