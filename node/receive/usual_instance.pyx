# cython: language_level=3, embedsignature=True
"""The short way of an instance that is like the one before it: from the wire to its answer.

Compiled, because here each microsecond counts: between the first byte of a data set and its answer
no Python runs. It takes the data set (`usual_data_set`), compares its header with that of the
instance before (`usual_header`), writes a receipt, and answers. It decides nothing: where anything
is other than expected, it stops, says what has come, and has neither written a receipt nor
answered. Without it, or after it has stopped, `node.receive.store_handler` goes the long way to the
same end.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.stdint cimport uint32_t
from libc.stdio cimport snprintf
from libc.string cimport memcpy
from libc.time cimport gmtime_r, time_t, tm
from posix.time cimport CLOCK_REALTIME, clock_gettime, timespec
from posix.unistd cimport write

from node.receive.usual_data_set cimport (
    FAILED_,
    HEADERS,
    OTHERWISE_,
    STORED_,
    VANISHED_,
    data_set,
    milliseconds,
    rest_of,
)
from node.receive.usual_header cimport Parts, UsualHeader, number_in


cdef extern from "<sys/socket.h>" nogil:
    const int MSG_DONTWAIT, MSG_NOSIGNAL
    ssize_t send(int descriptor, const void *memory, size_t size, int flags)


STORED = STORED_
"""A receipt is written, and the answer is sent, or as much of it as could be without waiting."""
OTHERWISE = OTHERWISE_
"""Something is not as expected, or slow: the long way is due."""
VANISHED = VANISHED_
"""The connection is closed, or broken."""
FAILED = FAILED_
"""The file or the receipt could not be written: the long way meets it, and says so."""
SLACK_BYTES = HEADERS
"""The memory is to be so much longer than the largest file that it takes."""

cdef enum:
    _MOST_RECEIPT = 1 << 14
    _MOST_AFTER_SIZE = 100
    _CHECK = 10

cdef uint32_t[256] _REMAINDERS


cdef void _divide() noexcept:
    cdef uint32_t number, value
    cdef int bit
    for number in range(256):
        value = number
        for bit in range(8):
            value = value >> 1 ^ (0xEDB88320U if value & 1 else 0)
        _REMAINDERS[number] = value


_divide()


cdef uint32_t _check_sum(const char *text, Py_ssize_t size) noexcept nogil:
    """The CRC-32 that zlib makes; made here, because that takes Python's lock."""
    cdef uint32_t value = 0xFFFFFFFFU
    cdef Py_ssize_t at
    for at in range(size):
        value = value >> 8 ^ _REMAINDERS[(value ^ <uint8_t>text[at]) & 0xFF]
    return ~value


cdef Py_ssize_t _receipt(
    char *text, Text before, Text between, int64_t number, Py_ssize_t size, timespec *now
) noexcept nogil:
    """Make the line of a receipt (`storage.receipt_text`); 0: it is too long.

    An end of a line comes first: another one, that the disk had no room for, may have none.
    """
    cdef tm parts
    cdef time_t seconds = now.tv_sec
    cdef char[_CHECK] check
    cdef Py_ssize_t at = _CHECK
    if before.size + between.size > _MOST_RECEIPT - _CHECK - 2 * _MOST_AFTER_SIZE:
        return 0
    gmtime_r(&seconds, &parts)
    memcpy(text + at, before.at, before.size)
    at += before.size
    at += snprintf(text + at, _MOST_AFTER_SIZE, b"%lld", <long long>number)
    memcpy(text + at, between.at, between.size)
    at += between.size
    at += snprintf(
        text + at,
        _MOST_AFTER_SIZE,
        b"%lld, \"dataset_digest\": \"\", "
        b"\"received_at\": \"%04d-%02d-%02dT%02d:%02d:%02d.%06ld+00:00\"}\n",
        <long long>size,
        parts.tm_year + 1900, parts.tm_mon + 1, parts.tm_mday,
        parts.tm_hour, parts.tm_min, parts.tm_sec, <long>(now.tv_nsec // 1000),
    )
    snprintf(check, _CHECK, b"%08x ", _check_sum(text + _CHECK, at - _CHECK - 1))
    text[0] = 10
    memcpy(text + 1, check, _CHECK - 1)
    return at


cdef int acknowledged(
    Arrival *one, int64_t number, int page, Text before, Text between, Text answer, Taken *result
) noexcept nogil:
    """Write the receipt of an instance that has come in full, and answer."""
    cdef char[_MOST_RECEIPT] line
    cdef Py_ssize_t line_size, sent
    cdef timespec now
    clock_gettime(CLOCK_REALTIME, &now)
    result.number = number
    result.seconds, result.microseconds = now.tv_sec, now.tv_nsec // 1000
    line_size = _receipt(line, before, between, number, one.at, &now)
    if not line_size or write(page, line, line_size) != line_size:
        return FAILED_
    sent = send(one.connection, answer.at, answer.size, MSG_DONTWAIT | MSG_NOSIGNAL)
    result.sent = sent if sent > 0 else 0
    return STORED_


cdef int _taken(
    Arrival *one,
    int context_id,
    Py_ssize_t longest,
    const Parts *header,
    Text uid,
    int page,
    Text before,
    Text between,
    Text answer,
    Taken *result,
) noexcept nogil:
    """Take a data set, write the receipt and answer; the file's head lies in memory already."""
    cdef Py_ssize_t head_size = one.at
    cdef int64_t number
    cdef int end = data_set(one, context_id, longest)
    if end != STORED_:
        return end
    number = number_in(header, one.memory + head_size, one.at - head_size, uid.at, uid.size)
    if number < 0:
        return OTHERWISE_
    return acknowledged(one, number, page, before, between, answer, result)


cdef Text _text(bytes given):
    cdef Text made
    made.at, made.size = <char *>given, len(given)
    return made


def take(
    int connection,
    bytes came,
    uint8_t[::1] memory,
    bytes head,
    Py_ssize_t most,
    int context_id,
    Py_ssize_t longest,
    double within_s,
    UsualHeader header not None,
    bytes uid,
    int file,
    int page,
    bytes before,
    bytes between,
    bytes answer,
):
    """Take the data set of a C-STORE request, and answer it, if it is like the one before.

    `came` was received already. In `memory` comes the file, `head` first, `most` bytes of it at the
    most. A PDU has a length of `longest` at the most. `uid` is the SOP Instance UID of the command
    set. The receipt goes to `page`; `before` and `between` are its text up to and behind the
    Instance Number.

    Returns how it ended; how many bytes of the file lie in memory; what is to be read again; how
    many bytes of the answer are sent; Instance Number; seconds and microseconds since 1970.
    """
    cdef Arrival one
    cdef Taken result
    cdef int end
    cdef Text uid_, before_, between_, answer_
    cdef const Parts *parts = &header.parts
    if most > len(memory) - HEADERS or len(head) > most:
        raise ValueError("memory that is too short")
    uid_, before_, between_, answer_ = _text(uid), _text(before), _text(between), _text(answer)
    memcpy(&memory[0], <char *>head, len(head))
    one.came, one.left = <const uint8_t *><char *>came, len(came)
    one.have = one.missing = one.unwritten = 0
    one.is_last = False
    one.connection, one.file = connection, file
    one.memory, one.at, one.most = &memory[0], len(head), most
    one.until_ms = milliseconds() + <int64_t>(within_s * 1000)
    with nogil:
        end = _taken(
            &one, context_id, longest, parts, uid_, page, before_, between_, answer_, &result
        )
    if end != STORED_:
        return end, one.at, rest_of(&one, context_id), 0, 0, 0, 0
    came = PyBytes_FromStringAndSize(<char *>one.came, one.left)
    return end, one.at, came, result.sent, result.number, result.seconds, result.microseconds
