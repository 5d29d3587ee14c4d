# cython: language_level=3, embedsignature=True
"""The header of an instance, held against that of the one before (PS3.5 7.1): is it like that?

Compiled, for `node.receive.usual_instance`. It says yes only where `node.receive.arriving_instance`
would find the same identity, but for the instance's own two values, and a data set that is whole.
"""

from libc.string cimport memcmp

cdef enum:
    _INSTANCE_NUMBER = 0x00200013
    _MOST_DIGITS = 9

MOST_PARTS = _MOST_PARTS

cdef uint32_t _ITEM = 0xE000FFFEU, _SEQUENCE_DELIMITATION = 0xE0DDFFFEU
cdef uint32_t _UNDEFINED = 0xFFFFFFFFU


cdef inline uint32_t _little(const uint8_t *at) noexcept nogil:
    return at[0] | <uint32_t>at[1] << 8 | <uint32_t>at[2] << 16 | <uint32_t>at[3] << 24


cdef class UsualHeader:
    """The header of the instance before, as parts that are to be found again.

    Of a part, the bytes of `template` where `mask` has 0xFF are to be the same. `sizes` are those
    of the parts; behind each one, but for the last one if `is_closed`, lies a value of the length
    that its last two bytes say. `uid_at` and `number_at` tell which of those values are the
    SOP Instance UID (0008,0018) and the Instance Number (0020,0013). Explicit VR Little Endian,
    also with compressed pixel data.
    """

    def __init__(
        self, bytes template, bytes mask, list sizes, bint is_closed, int uid_at, int number_at
    ):
        cdef Parts *parts = &self.parts
        parts.count = len(sizes)
        parts.open = parts.count - (1 if is_closed else 0)
        if parts.count > _MOST_PARTS:
            raise ValueError("more parts than are compared")
        if min(uid_at, number_at) < 0 or max(uid_at, number_at) >= parts.open:
            raise ValueError("values that are not there")
        for number, size in enumerate(sizes):
            if size < 2:
                raise ValueError("a part without a length")
            parts.sizes[number] = size
        if not len(template) == len(mask) == sum(sizes):
            raise ValueError("template and mask are not as long as the parts")
        self._template, self._mask = template, mask
        parts.template_at = <const uint8_t *><char *>template
        parts.mask_at = <const uint8_t *><char *>mask
        parts.uid_at, parts.number_at = uid_at, number_at

    def number_of(self, const uint8_t[::1] data_set, bytes uid):
        """Return the Instance Number of a data set that is like the one before, with this UID.

        None: it is not, or the number is not written plainly.
        """
        cdef int64_t number
        if len(data_set) == 0:
            return None
        number = number_in(&self.parts, &data_set[0], len(data_set), uid, len(uid))
        return None if number < 0 else number


cdef int64_t number_in(
    const Parts *parts,
    const uint8_t *content,
    Py_ssize_t size,
    const char *uid,
    Py_ssize_t uid_size,
) noexcept nogil:
    """The Instance Number of a data set that is like `parts`; -1: it is not."""
    cdef const uint8_t *template = parts.template_at
    cdef const uint8_t *mask = parts.mask_at
    cdef Py_ssize_t at = 0, here, length
    cdef int64_t number = -1
    cdef int part
    cdef uint8_t differs
    if size < 2 or content[0] == 2 and content[1] == 0:
        return -1
    for part in range(parts.count):
        length = parts.sizes[part]
        if size - at < length:
            return -1
        differs = 0
        for here in range(length):
            differs |= (content[at + here] ^ template[here]) & mask[here]
        if differs:
            return -1
        template += length
        mask += length
        at += length
        if part >= parts.open:
            continue
        length = content[at - 2] | <Py_ssize_t>content[at - 1] << 8
        if size - at < length:
            return -1
        if part == parts.uid_at and not _is_uid(content + at, length, uid, uid_size):
            return -1
        if part == parts.number_at:
            number = _plain_number(content + at, length)
            if number < 0:
                return -1
        at += length
    return number if _is_whole(content, at, size) else -1


cdef bint _is_uid(
    const uint8_t *value, Py_ssize_t size, const char *uid, Py_ssize_t uid_size
) noexcept nogil:
    while size and (value[size - 1] == 0 or value[size - 1] == 0x20):
        size -= 1
    return size == uid_size and memcmp(value, uid, size) == 0


cdef int64_t _plain_number(const uint8_t *value, Py_ssize_t size) noexcept nogil:
    """A number of digits alone, without leading zeros, perhaps padded; -1 for anything else."""
    cdef int64_t number = 0
    cdef Py_ssize_t at
    while size and value[size - 1] == 0x20:
        size -= 1
    if size == 0 or size > _MOST_DIGITS or (value[0] == 0x30 and size > 1):
        return -1
    for at in range(size):
        if not 0x30 <= value[at] <= 0x39:
            return -1
        number = number * 10 + value[at] - 0x30
    return number


cdef int _header_size(const uint8_t *vr) noexcept nogil:
    """8 or 12 bytes: how long the header of an element with this VR is; 0: there is no such VR."""
    cdef uint32_t name = <uint32_t>vr[0] << 8 | vr[1]
    if name in (
        0x4145, 0x4153, 0x4154, 0x4353, 0x4441, 0x4453, 0x4454, 0x4644, 0x464C, 0x4953, 0x4C4F,
        0x4C54, 0x504E, 0x5348, 0x534C, 0x5353, 0x5354, 0x544D, 0x5549, 0x554C, 0x5553,
    ):
        return 8
    if name in (
        0x4F42, 0x4F44, 0x4F46, 0x4F4C, 0x4F56, 0x4F57, 0x5351, 0x5356, 0x5543, 0x554E, 0x5552,
        0x5554, 0x5556,
    ):
        return 12
    return 0


cdef bint _is_whole(const uint8_t *content, Py_ssize_t at, Py_ssize_t size) noexcept nogil:
    """Whether elements lie there to the last byte, the first of them beyond the identity."""
    cdef int header
    cdef Py_ssize_t length
    cdef bint is_first = True
    while at < size:
        if size - at < 12:
            # An element with an empty or a very short value.
            header = _header_size(content + at + 4) if size - at >= 8 else 0
            if header != 8:
                return False
        else:
            header = _header_size(content + at + 4)
        if header == 0 or content[at] == 0 and content[at + 1] == 0:
            return False
        if is_first and not _is_beyond(content + at):
            return False
        is_first = False
        if header == 8:
            length = content[at + 6] | <Py_ssize_t>content[at + 7] << 8
        else:
            length = _little(content + at + 8)
        at += header
        if header == 12 and length == _UNDEFINED:
            if content[at - 8] != 0x4F:  # but OB and OW, what holds items may nest
                return False
            at = _behind_items(content, at, size)
            if at < 0:
                return False
        elif length > size - at:
            return False
        else:
            at += length
    return not is_first


cdef inline bint _is_beyond(const uint8_t *header) noexcept nogil:
    cdef uint32_t tag = (
        <uint32_t>header[1] << 24 | <uint32_t>header[0] << 16 | <uint32_t>header[3] << 8 | header[2]
    )
    return tag > _INSTANCE_NUMBER


cdef Py_ssize_t _behind_items(
    const uint8_t *content, Py_ssize_t at, Py_ssize_t size
) noexcept nogil:
    """Where the fragments of a compressed image end (PS3.5 A.4); -1: they do not."""
    cdef uint32_t tag
    cdef Py_ssize_t length
    while size - at >= 8:
        tag = _little(content + at)
        length = _little(content + at + 4)
        at += 8
        if tag == _SEQUENCE_DELIMITATION:
            return at
        if tag != _ITEM or length > size - at:
            return -1
        at += length
    return -1
