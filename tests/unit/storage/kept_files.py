"""Instances with a file at a place of its own, as a receiver leaves them."""

from __future__ import annotations

from node.receive.file_meta import file_head
from storage.dicom_records import IncomingInstance
from storage.instance_files import InstanceFiles

HEAD = file_head(b"1.2.3", b"1.2.3.4", "1.2.840.10008.1.2.1")


def written(files: InstanceFiles, one: IncomingInstance, data_set: bytes) -> IncomingInstance:
    """The same instance, with a file of this data set."""
    with files.open_incoming() as part:
        part.write(HEAD + data_set)
        uids = (one.study.study_instance_uid, one.series.series_instance_uid)
        place = part.keep(*uids, one.sop_instance_uid)
    return one._replace(path=place)


def kept(files: InstanceFiles, one: IncomingInstance) -> IncomingInstance:
    """The same with one that is another for each digest; of the size that the instance tells."""
    return written(files, one, f"{one.dataset_digest:{one.size_bytes - len(HEAD)}}".encode())


def undigested(
    files: InstanceFiles, one: IncomingInstance, data_set: bytes = b"data set"
) -> IncomingInstance:
    """The same with one whose digest nobody has taken yet."""
    one = written(files, one, data_set)
    return one._replace(size_bytes=len(HEAD + data_set), dataset_digest="")
