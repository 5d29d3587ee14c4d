from libc.stdint cimport uint8_t, uint32_t


cdef enum:
    WHOLE_COMMAND = 3
    MOST_UID = 64
    MOST_COMMAND = 1 << 10
    MOST_TEXT = 1 << 14
    MOST_NAME = 1 << 12
    CHANCE = 32
    MOST_KINDS = 8


cdef struct Text:
    const char *at
    Py_ssize_t size


cdef struct Request:
    # The command set as it came, its Message ID, and its UID without padding.
    uint8_t[MOST_COMMAND] encoded
    Py_ssize_t size
    uint8_t[2] message_id
    char[MOST_UID] uid
    Py_ssize_t uid_size


cdef class UsualTexts:
    cdef tuple _held
    cdef Text[3] _request
    cdef Text[3] _head
    cdef Text[2] _answer
    cdef Text[MOST_KINDS][4] _receipts
    cdef int kinds
    cdef char[CHANCE] chance
    cdef Request asked
    # Of the receipt, up to the Instance Number and from there to the size; the answer.
    cdef char[MOST_TEXT] before
    cdef char[MOST_NAME] between
    cdef char[MOST_NAME] said
    cdef Py_ssize_t before_size, between_size, said_size

    cdef int _keep(self, int kind, tuple receipt) except -1
    cdef bint is_like(self, const uint8_t *command, Py_ssize_t size) noexcept nogil
    cdef void begin(self, const char *chance, int context_id) noexcept nogil
    cdef void put_receipt(self, int kind) noexcept nogil
    cdef Py_ssize_t put_head(self, char *memory) noexcept nogil
    cdef void _put_answer(self, int context_id) noexcept nogil
    cdef Py_ssize_t put_place(self, char *name) noexcept nogil
