"""What other compiled modules may know of rows."""

from libc.stdint cimport uint32_t

cdef enum Kind:
    NULL_, BOOLEAN, LONG, FLOAT, DOUBLE, BYTES, STRING, FIXED, ENUM, RECORD, ROW, ARRAY, MAP, UNION


cdef class _Plan:
    """What is known of a flat record once for all: its fields, in order, and their names as BSON has them."""

    cdef Py_ssize_t n
    cdef tuple names
    cdef dict index
    #: By field: kind, and the bytes that say "null" and "a value" (-1: a field that is never missing).
    cdef Kind* kinds
    cdef int* null_tags
    cdef int* value_tags
    #: Names with the zero that ends them, one after the other, and where each begins.
    cdef bytes keys
    cdef Py_ssize_t* key_starts
    #: Bytes of BSON that all fields take at most, without the content of strings.
    cdef Py_ssize_t most
    #: Where each field stands in the record of which this is a part.
    cdef Py_ssize_t* origins
    #: Plans of rows that have some of the fields only, by their names.
    cdef dict parts

    cdef _Plan part(self, tuple names)
    cdef _Plan rest(self, without)


cdef class Row:
    """A flat record of a packet."""

    cdef bytes _data
    cdef _Plan _plan
    cdef uint32_t* _starts
    #: Bytes that it takes in the packet.
    cdef Py_ssize_t _size
    #: Fields by number that are not as in the packet: another string or integer.
    cdef dict _changes

    cdef int _take(self, _Plan plan, bytes data) except -1
    cdef Row _part(self, _Plan plan, dict others)
    cdef object _field(self, Py_ssize_t number)
    cdef unsigned char* _write(self, unsigned char* out) except NULL
