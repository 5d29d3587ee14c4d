from libc.stdint cimport int64_t, uint8_t, uint32_t

cdef enum:
    STORED_ = 0
    OTHERWISE_ = 1
    VANISHED_ = 2
    FAILED_ = 3
    HEADERS = 12


cdef struct Arrival:
    # What was received before and is not used yet.
    const uint8_t *came
    Py_ssize_t left
    # The headers of the next value, and how many bytes of them are here.
    uint8_t[HEADERS] headers
    Py_ssize_t have
    # What is missing of the value that has begun.
    Py_ssize_t missing
    bint is_last
    int64_t until_ms
    int connection, file
    # In the memory: where the next byte comes, and what is not written yet.
    uint8_t *memory
    Py_ssize_t at, most, unwritten


cdef uint32_t big(const uint8_t *at) noexcept nogil

cdef int64_t milliseconds() noexcept nogil

cdef Py_ssize_t receive(Arrival *one, void *place, Py_ssize_t size) noexcept nogil

cdef int data_set(Arrival *one, int context_id, Py_ssize_t longest) noexcept nogil

cdef bytes rest_of(Arrival *one, int context_id)
