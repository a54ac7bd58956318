"""Plain values of Avro, and how they are written as BSON; a part of `avro_rows.pyx`.

What is read for the first time is checked against the end of the packet; what was read before is taken as it is.
"""

cdef dict _KINDS = {
    "null": NULL_, "boolean": BOOLEAN, "int": LONG, "long": LONG, "float": FLOAT, "double": DOUBLE,
    "bytes": BYTES, "string": STRING,
}
#: Where a field of a row begins that is missing, or that is not as in the packet; what is not below is no place.
cdef enum:
    _CHANGED = 0xFFFFFFFE
    _MISSING = 0xFFFFFFFF


cdef struct _Place:
    const unsigned char* base
    #: Where the next value begins, and where the bytes end.
    Py_ssize_t now
    Py_ssize_t end


cdef int64_t _long(_Place* at) except? -1:
    """A variable-length integer of up to 64 bits."""
    cdef uint64_t value = 0
    cdef int shift = 0
    cdef unsigned char byte
    while True:
        if at.now >= at.end:
            raise EOFError("it breaks off")
        byte = at.base[at.now]
        at.now += 1
        if shift == 63 and byte > 1:
            raise ValueError("an integer of more than 64 bits")
        value |= <uint64_t> (byte & 127) << shift
        if byte < 128:
            break
        shift += 7
    return <int64_t> (value >> 1) ^ -<int64_t> (value & 1)


cdef int _need(_Place* at, int64_t size) except -1:
    """Make sure that so many bytes follow."""
    if size < 0 or size > at.end - at.now:
        raise EOFError(f"{size} bytes are promised, {at.end - at.now} follow")
    return 0


cdef int _check_text(const unsigned char* text, Py_ssize_t size) except -1:
    """Raise UnicodeDecodeError unless this is UTF-8."""
    cdef Py_ssize_t i
    for i in range(size):
        if text[i] >= 128:
            PyUnicode_DecodeUTF8(<const char*> text, size, NULL)
            return 0
    return 0


cdef int _skip(Kind kind, _Place* at) except -1:
    """Go behind a plain value, which is all there then, and valid."""
    cdef int64_t size
    if kind == FLOAT:
        size = 4
    elif kind == DOUBLE:
        size = 8
    elif kind == BOOLEAN:
        size = 1
    elif kind == LONG:
        _long(at)
        return 0
    elif kind == NULL_:
        return 0
    else:
        size = _long(at)
    if size < 0 or size > at.end - at.now:
        _need(at, size)
    if kind == STRING:
        _check_text(at.base + at.now, size)
    at.now += size
    return 0


cdef int64_t _known_long(const unsigned char** at) noexcept:
    """A variable-length integer that was read before."""
    cdef const unsigned char* byte = at[0]
    cdef uint64_t value = byte[0] & 127
    cdef int shift = 7
    while byte[0] >= 128:
        byte += 1
        value |= <uint64_t> (byte[0] & 127) << shift
        shift += 7
    at[0] = byte + 1
    return <int64_t> (value >> 1) ^ -<int64_t> (value & 1)


cdef object _value(Kind kind, const unsigned char* start):
    """A plain value that was read before."""
    cdef float single
    cdef double number
    cdef int64_t size
    if kind == FLOAT:
        memcpy(&single, start, 4)
        return <double> single
    if kind == DOUBLE:
        memcpy(&number, start, 8)
        return number
    if kind == LONG:
        return _known_long(&start)
    if kind == BOOLEAN:
        return start[0] != 0
    if kind == NULL_:
        return None
    size = _known_long(&start)
    if kind == STRING:
        return PyUnicode_DecodeUTF8(<const char*> start, size, NULL)
    return PyBytes_FromStringAndSize(<const char*> start, size)


cdef unsigned char* _write_text(unsigned char* out, const unsigned char* text, Py_ssize_t size) noexcept:
    cdef int32_t length = <int32_t> (size + 1)
    memcpy(out, &length, 4)
    memcpy(out + 4, text, size)
    out[4 + size] = 0
    return out + 5 + size


cdef unsigned char* _write_long(int64_t whole, unsigned char* type_, unsigned char* out) noexcept:
    """As the driver does: in four bytes where they are enough."""
    cdef int32_t small
    if INT32_MIN <= whole <= INT32_MAX:
        type_[0] = 0x10
        small = <int32_t> whole
        memcpy(out, &small, 4)
        return out + 4
    type_[0] = 0x12
    memcpy(out, &whole, 8)
    return out + 8


cdef unsigned char* _write_value(
    Kind kind, const unsigned char* start, unsigned char* type_, unsigned char* out
) noexcept:
    """Write a value behind its name, and its type before it."""
    cdef float single
    cdef double number
    cdef int64_t whole
    cdef int32_t small
    if kind == FLOAT or kind == DOUBLE:
        type_[0] = 0x01
        if kind == DOUBLE:
            memcpy(out, start, 8)
            return out + 8
        memcpy(&single, start, 4)
        number = single
        memcpy(out, &number, 8)
        return out + 8
    if kind == NULL_:
        type_[0] = 0x0A
        return out
    if kind == BOOLEAN:
        type_[0] = 0x08
        out[0] = start[0] != 0
        return out + 1
    whole = _known_long(&start)
    if kind == LONG:
        return _write_long(whole, type_, out)
    if kind == STRING:
        type_[0] = 0x02
        return _write_text(out, start, whole)
    type_[0] = 0x05
    small = <int32_t> whole
    memcpy(out, &small, 4)
    out[4] = 0
    memcpy(out + 5, start, whole)
    return out + 5 + whole
