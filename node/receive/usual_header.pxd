from libc.stdint cimport int64_t, uint8_t, uint32_t

cdef enum:
    _MOST_PARTS = 64


cdef class UsualHeader:
    cdef bytes _template, _mask
    cdef const uint8_t *_template_at
    cdef const uint8_t *_mask_at
    cdef Py_ssize_t[_MOST_PARTS] _sizes
    cdef int _parts, _open, _uid_at, _number_at

    cdef int64_t _number(
        self, const uint8_t *content, Py_ssize_t size, const char *uid, Py_ssize_t uid_size
    ) noexcept nogil
