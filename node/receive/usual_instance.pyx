# cython: language_level=3, embedsignature=True
"""The short way of an instance that is like one before it: from the wire to its answer.

Compiled, for `node.receive.usual_run`. It takes the data set (`usual_data_set`), looks for the kind
whose header it has (`usual_header`), writes a receipt, and answers. It decides nothing: where
anything is other than expected, it stops, and has neither written a receipt nor answered.
"""

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
)
from node.receive.usual_header cimport number_in
from node.receive.usual_texts cimport Text


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


cdef inline Text _text(const char *text, Py_ssize_t size) noexcept nogil:
    cdef Text made
    made.at, made.size = text, size
    return made


cdef bint _is_of_a_kind(
    const Parts **headers, UsualTexts texts, const uint8_t *content, Py_ssize_t size, Taken *result
) noexcept nogil:
    """Find the kind of an instance, that of the one before first, and its Instance Number."""
    cdef int begin = result.kind, more
    for more in range(texts.kinds):
        result.kind = (begin + more) % texts.kinds
        result.number = number_in(
            headers[result.kind], content, size, texts.asked.uid, texts.asked.uid_size
        )
        if result.number >= 0:
            return True
    return False


cdef int taken(
    Arrival *one,
    int context_id,
    Py_ssize_t longest,
    const Parts **headers,
    UsualTexts texts,
    int page,
    Taken *result,
) noexcept nogil:
    """Take the data set of what is asked for, write the receipt and answer.

    The file's head lies in memory already. `headers` are those of the kinds; `result.kind` is that
    of the instance before.
    """
    cdef char[_MOST_RECEIPT] line
    cdef Py_ssize_t head_size = one.at, line_size, sent
    cdef timespec now
    cdef int end = data_set(one, context_id, longest)
    if end != STORED_:
        return end
    if not _is_of_a_kind(headers, texts, one.memory + head_size, one.at - head_size, result):
        return OTHERWISE_
    texts.put_receipt(result.kind)
    clock_gettime(CLOCK_REALTIME, &now)
    result.seconds, result.microseconds = now.tv_sec, now.tv_nsec // 1000
    line_size = _receipt(
        line,
        _text(texts.before, texts.before_size),
        _text(texts.between, texts.between_size),
        result.number,
        one.at,
        &now,
    )
    if not line_size or write(page, line, line_size) != line_size:
        return FAILED_
    sent = send(one.connection, texts.said, texts.said_size, MSG_DONTWAIT | MSG_NOSIGNAL)
    result.sent = sent if sent > 0 else 0
    return STORED_
