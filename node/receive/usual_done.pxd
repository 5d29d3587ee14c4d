from libc.stdint cimport uint64_t

from node.receive.usual_instance cimport Taken
from node.receive.usual_texts cimport CHANCE, MOST_UID


cdef struct Hashed:
    # XXH128_hash_t.
    uint64_t low, high


ctypedef Hashed (*Hash)(const void *, size_t) noexcept nogil


cdef struct Acknowledged:
    Taken taken
    char[MOST_UID] uid
    Py_ssize_t uid_size
    char[CHANCE] chance
    # Of the file; and of its data set.
    Py_ssize_t size
    bint has_digest
    Hashed digest


cdef tuple told(Acknowledged *done)
