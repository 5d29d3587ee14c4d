from libc.stdint cimport int64_t, uint8_t

from node.receive.usual_data_set cimport Arrival
from node.receive.usual_header cimport Parts
from node.receive.usual_texts cimport UsualTexts


cdef struct Taken:
    # Of which kind; Instance Number; seconds and microseconds since 1970; how much of the answer is
    # sent.
    int kind
    int64_t number, seconds, microseconds
    Py_ssize_t sent


cdef int taken(
    Arrival *one,
    int context_id,
    Py_ssize_t longest,
    const Parts **headers,
    UsualTexts texts,
    int page,
    Taken *result,
) noexcept nogil
