from libc.stdint cimport int64_t, uint8_t, uint32_t

cdef enum:
    _MOST_PARTS = 64


cdef struct Parts:
    const uint8_t *template_at
    const uint8_t *mask_at
    Py_ssize_t[_MOST_PARTS] sizes
    int count, open, uid_at, number_at


cdef class UsualHeader:
    cdef bytes _template, _mask
    cdef Parts parts


cdef int64_t number_in(
    const Parts *parts,
    const uint8_t *content,
    Py_ssize_t size,
    const char *uid,
    Py_ssize_t uid_size,
) noexcept nogil
