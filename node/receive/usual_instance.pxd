from libc.stdint cimport int64_t, uint8_t

from node.receive.usual_data_set cimport Arrival


cdef struct Text:
    const char *at
    Py_ssize_t size


cdef struct Taken:
    # Instance Number; seconds and microseconds since 1970; how much of the answer is sent.
    int64_t number, seconds, microseconds
    Py_ssize_t sent


cdef int acknowledged(
    Arrival *one, int64_t number, int page, Text before, Text between, Text answer, Taken *result
) noexcept nogil
