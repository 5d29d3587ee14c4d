from __future__ import annotations

import subprocess
import sys
from hashlib import sha256
from pathlib import Path

from storage.database import Database
from storage.instance_files import InstanceFiles
from storage.instances import instances_of_series, record_instance
from storage.jobs import job_events
from tests.unit.storage.samples import SERIES, incoming, make_job, new_job

ROOT = Path(__file__).parents[3]
RECEIVE = """
import sys
from hashlib import sha256
from itertools import count
from pathlib import Path
from storage.database import open_database
from storage.instance_files import InstanceFiles
from storage.instances import record_instance
from tests.unit.storage.samples import SERIES, STUDY, incoming

db, files = open_database(sys.argv[1]), InstanceFiles(Path(sys.argv[2]))
for number in count(1):
    sent = incoming(number)
    content = sent.sop_instance_uid.encode() * 1000
    digest = sha256(content).hexdigest()
    with files.open_incoming() as part:
        part.write(content)
        place = part.keep(STUDY, SERIES, sent.sop_instance_uid)
    record_instance(db, sent._replace(path=place, dataset_digest=digest))
    print(sent.sop_instance_uid, flush=True)
"""
CLAIM = """
import sys
from storage.database import open_database
from storage.jobs import claim_next_job
from tests.unit.storage.samples import LEASE_S, NOW

db = open_database(sys.argv[1])
sys.stdin.readline()
while job := claim_next_job(db, worker_id=sys.argv[2], lease_s=LEASE_S, now=NOW):
    print(job.job_id, flush=True)
"""


def _start(program: str, *arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    )


def test_what_was_acknowledged_survives_the_death_of_the_process(
    db: Database, db_url: str, files: InstanceFiles
) -> None:
    process = _start(RECEIVE, db_url, str(files.data_dir))
    assert process.stdout is not None
    acknowledged = [process.stdout.readline().strip() for _ in range(12)]
    process.kill()
    acknowledged += process.communicate()[0].split()
    kept = {one.sop_instance_uid: one for one in instances_of_series(db, SERIES)}
    for uid in acknowledged:
        content = files.absolute(kept[uid].path).read_bytes()
        assert content == uid.encode() * 1000
        assert kept[uid].dataset_digest == sha256(content).hexdigest()
    record_instance(db, incoming(10_000))


def test_processes_never_get_the_same_job(db: Database, db_url: str) -> None:
    made = [make_job(db, new_job(study=f"1.2.{number}")) for number in range(20)]
    processes = [_start(CLAIM, db_url, f"radnode/{number}") for number in range(3)]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outputs = [process.communicate(timeout=120)[0] for process in processes]
    claimed = [int(line) for output in outputs for line in output.split()]
    assert sorted(claimed) == made
    assert {len(job_events(db, job_id)) for job_id in made} == {2}
