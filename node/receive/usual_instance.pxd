from libc.stdint cimport int64_t, uint8_t

from node.receive.usual_data_set cimport Arrival
from node.receive.usual_header cimport UsualHeader


cdef struct Text:
    const char *at
    Py_ssize_t size


cdef struct Taken:
    # Instance Number; seconds and microseconds since 1970; how much of the answer is sent.
    int64_t number, seconds, microseconds
    Py_ssize_t sent


cdef int taken(
    Arrival *one,
    int context_id,
    Py_ssize_t longest,
    UsualHeader header,
    Text uid,
    int page,
    Text before,
    Text between,
    Text answer,
    Taken *result,
) noexcept nogil
