# cython: language_level=3, embedsignature=True
"""What is known of an instance that was acknowledged by the short way, and told when a run ends.

Compiled, for `node.receive.usual_run`, which notes it without Python.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize


cdef tuple told(Acknowledged *done):
    """What `UsualRun.take` says of it.

    Kind, UID, chance, Instance Number, size, seconds and microseconds since 1970, and the digest of
    the data set as one number: None where nothing takes digests, or where it is not sure that the
    file is whole and at its place.
    """
    digest = None
    if done.has_digest:
        digest = <object>done.digest.high << 64 | <object>done.digest.low
    return (
        done.taken.kind,
        PyBytes_FromStringAndSize(done.uid, done.uid_size),
        PyBytes_FromStringAndSize(done.chance, CHANCE),
        done.taken.number,
        done.size,
        done.taken.seconds,
        done.taken.microseconds,
        digest,
    )
