# cython: language_level=3
"""A data set on the way from the connection to memory and a file (PS3.8 9.3.5).

Compiled, for `node.receive.usual_instance`: P-DATA-TF PDUs with one value each. It decides nothing:
where anything is other than expected, it stops, and what has come can be read again.
"""

from cpython.bytes cimport PyBytes_FromStringAndSize
from libc.errno cimport EAGAIN, EINTR, errno
from libc.string cimport memcpy
from posix.time cimport CLOCK_MONOTONIC, clock_gettime, timespec
from posix.unistd cimport write


cdef extern from "<sys/socket.h>" nogil:
    const int MSG_DONTWAIT
    ssize_t recv(int descriptor, void *memory, size_t size, int flags)

cdef extern from "<poll.h>" nogil:
    const short POLLIN
    cdef struct pollfd:
        int fd
        short events
        short revents
    int poll(pollfd *descriptors, unsigned long number, int timeout_ms)


cdef enum:
    _PDU_HEADER = 6
    _P_DATA_TF = 4
    _OVERHEAD = 6
    _COMMAND = 1
    _LAST = 2
    _BLOCK = 3 << 16
    _WORTH_WRITING = 1 << 16
    _STEP = 1 << 14


cdef uint32_t big(const uint8_t *at) noexcept nogil:
    return at[3] | <uint32_t>at[2] << 8 | <uint32_t>at[1] << 16 | <uint32_t>at[0] << 24


cdef int64_t milliseconds() noexcept nogil:
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1000 + now.tv_nsec // 1000000


cdef bint _written_ahead(Arrival *one) noexcept nogil:
    """Write what has come, as long as nothing more has: else its sender would wait for that later.

    An error shows itself once more when the rest is written.
    """
    cdef Py_ssize_t size = one.at - one.unwritten
    cdef ssize_t written
    if size < _WORTH_WRITING:
        return False
    written = write(one.file, one.memory + one.unwritten, size - size % _STEP)
    one.unwritten += max(written, 0)
    return written > 0


cdef Py_ssize_t receive(Arrival *one, void *place, Py_ssize_t size) noexcept nogil:
    """Receive some bytes; 0: the connection is over or broken, -1: nothing came in time."""
    cdef ssize_t got
    cdef pollfd waiting
    cdef int64_t wait_ms
    if one.left:
        got = min(one.left, size)
        memcpy(place, one.came, got)
        one.came += got
        one.left -= got
        return got
    while True:
        got = recv(one.connection, place, size, MSG_DONTWAIT)
        if got >= 0:
            return got
        if errno == EINTR:
            continue
        if errno != EAGAIN:
            return 0
        if _written_ahead(one):
            continue
        wait_ms = one.until_ms - milliseconds()
        if wait_ms <= 0:
            return -1
        waiting.fd = one.connection
        waiting.events = POLLIN
        poll(&waiting, 1, <int>wait_ms)


cdef bint _write_all(int descriptor, const uint8_t *content, Py_ssize_t size) noexcept nogil:
    cdef ssize_t written
    while size:
        written = write(descriptor, content, size)
        if written < 0:
            if errno == EINTR:
                continue
            return False
        content += written
        size -= written
    return True


cdef int _value_begins(Arrival *one, int context_id, Py_ssize_t longest) noexcept nogil:
    """Read the headers of the next value; STORED_: it is one that is taken here."""
    cdef Py_ssize_t got
    cdef uint32_t length = 0, value_length
    cdef uint8_t *headers = one.headers
    while True:
        # Other PDUs may be shorter than these headers: then nothing more has to come.
        if one.have and headers[0] != _P_DATA_TF:
            return OTHERWISE_
        if one.have >= _PDU_HEADER:
            length = big(headers + 2)
            if length > longest or length <= _OVERHEAD:
                return OTHERWISE_
        if one.have == HEADERS:
            break
        got = receive(one, headers + one.have, HEADERS - one.have)
        if got <= 0:
            return VANISHED_ if got == 0 else OTHERWISE_
        one.have += got
    value_length = big(headers + 6)
    if value_length != length - 4 or headers[10] != context_id or headers[11] & _COMMAND:
        return OTHERWISE_
    if length - _OVERHEAD > one.most - one.at:
        return OTHERWISE_
    one.missing = length - _OVERHEAD
    one.is_last = headers[11] & _LAST != 0
    one.have = 0
    return STORED_


cdef int _value(Arrival *one) noexcept nogil:
    """Place a value, and what comes with it of the next headers; write a block that is full."""
    cdef Py_ssize_t got, ahead, size
    ahead = 0 if one.is_last else HEADERS
    while one.missing > 0:
        got = receive(one, one.memory + one.at, one.missing + ahead)
        if got <= 0:
            return VANISHED_ if got == 0 else OTHERWISE_
        if got > one.missing:
            one.have = got - one.missing
            memcpy(one.headers, one.memory + one.at + one.missing, one.have)
            got = one.missing
        one.at += got
        one.missing -= got
    size = one.at - one.unwritten
    if one.is_last or size >= _BLOCK:
        if not one.is_last:
            size -= size % _STEP
        if not _write_all(one.file, one.memory + one.unwritten, size):
            return FAILED_
        one.unwritten += size
    return STORED_


cdef int data_set(Arrival *one, int context_id, Py_ssize_t longest) noexcept nogil:
    cdef int end
    while not one.is_last or one.missing:
        end = _value_begins(one, context_id, longest)
        if end == STORED_:
            end = _value(one)
        if end != STORED_:
            return end
    return STORED_


cdef bytes rest_of(Arrival *one, int context_id):
    """What is to be read again: what was read and not used, behind the rest of a value.

    The rest of a value that has begun is a value, too: it gets headers of its own, and so has a
    data set that has come in full an empty last one.
    """
    cdef bytes headers = b""
    cdef Py_ssize_t size = one.missing
    if size or one.is_last:
        headers = bytes((_P_DATA_TF, 0)) + (size + _OVERHEAD).to_bytes(4, "big")
        headers += (size + 2).to_bytes(4, "big")
        headers += bytes((context_id, _LAST if one.is_last else 0))
    headers += PyBytes_FromStringAndSize(<char *>one.headers, one.have)
    return headers + PyBytes_FromStringAndSize(<char *>one.came, one.left)
