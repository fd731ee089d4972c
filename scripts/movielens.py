"""Reads a data frame out of an R package's lazy-load database, with Python's standard library alone.

Knows as much of R's serialisation format (XDR, versions 2 and 3) as plain data frames need, and refuses the rest.
The format is described in "R Internals", section 1.8.
"""

import bz2
import gzip
import lzma
import struct
import zlib

NIL, SYMBOL, PAIRS, STRING, LOGICALS, INTEGERS, REALS, STRINGS, LIST = 254, 1, 2, 9, 10, 13, 14, 16, 19
GLOBAL_ENVIRONMENT, REFERENCE = 253, 255
MISSING_INTEGER = -(2**31)


class Unreadable(Exception):
    """The bytes are not what is expected there."""


class Vector(list):
    """An R vector or pair list and its attributes."""

    attributes: dict = {}

    def named(self):
        """The elements by their names."""
        return dict(zip(self.attributes["names"], self))


class _Reader:
    def __init__(self, raw):
        self.raw, self.at, self.symbols = raw, 0, []
        if self._take(2) != b"X\n":
            raise Unreadable("not R's binary format")
        version = self._int()
        self._take(8)
        if version == 3:
            self._take(self._int())
        elif version != 2:
            raise Unreadable(f"version {version} of R's format")

    def _take(self, count):
        if self.at + count > len(self.raw):
            raise Unreadable("the data ends early")
        self.at += count
        return self.raw[self.at - count : self.at]

    def _int(self):
        return struct.unpack(">i", self._take(4))[0]

    def _array(self, letter, width):
        count = self._int()
        return Vector(struct.unpack(f">{count}{letter}", self._take(width * count)))

    def item(self):
        flags = self._int()
        kind, has_attributes, has_tag = flags & 0xFF, flags & 0x200, flags & 0x400
        if kind in (NIL, GLOBAL_ENVIRONMENT):
            return None
        if kind == SYMBOL:
            self.symbols.append(self.item())
            return self.symbols[-1]
        if kind == REFERENCE:
            return self.symbols[(flags >> 8 or self._int()) - 1]
        if kind == STRING:
            length = self._int()
            return None if length == -1 else self._take(length).decode("utf-8" if flags >> 12 & 0x08 else "latin-1")
        if kind == PAIRS:
            return self._pairs(has_attributes, has_tag)
        vector = self._vector(kind)
        if has_attributes:
            vector.attributes = self.item().named()
        return vector

    def _pairs(self, has_attributes, has_tag):
        if has_attributes:
            self.item()
        name = self.item() if has_tag else ""
        first, rest = self.item(), self.item() or Vector()
        pairs = Vector([first, *rest])
        pairs.attributes = {"names": [name, *rest.attributes.get("names", [])]}
        return pairs

    def _vector(self, kind):
        if kind in (INTEGERS, LOGICALS):
            return self._array("i", 4)
        if kind == REALS:
            return self._array("d", 8)
        if kind in (STRINGS, LIST):
            return Vector([self.item() for _ in range(self._int())])
        raise Unreadable(f"an R object of type {kind}")


def read_object(folder, name):
    """The object of that name in the lazy-load database `folder`/Rdata: its index gives place and length, and there
    stand four bytes of size, for two of the three packings a letter, and the packed object."""
    index = _Reader(gzip.decompress((folder / "Rdata.rdx").read_bytes())).item().named()
    places = index["variables"].named()
    if name not in places:
        raise Unreadable(f"no object {name}; there are {', '.join(sorted(places))}")
    offset, length = places[name]
    chunk = (folder / "Rdata.rdb").read_bytes()[offset : offset + length]
    size, packing = struct.unpack(">I", chunk[:4])[0], chunk[4:5]
    if packing == b"2":
        raw = bz2.decompress(chunk[5:])
    elif packing == b"Z":
        raw = lzma.decompress(chunk[5:], format=lzma.FORMAT_RAW, filters=[{"id": lzma.FILTER_LZMA2, "preset": 9}])
    else:
        raw = zlib.decompress(chunk[4:])
    if len(raw) != size:
        raise Unreadable(f"{name} has {len(raw)} bytes, its index says {size}")
    return _Reader(raw).item()


def plain(vector):
    """A column as numbers and texts: the words of a factor, None for what is missing."""
    words = vector.attributes.get("levels")
    values = [None if value == MISSING_INTEGER else value for value in vector]
    return [value and words[value - 1] for value in values] if words else values


def read_frame(folder, name):
    """A data frame: column name to values."""
    return {column: plain(vector) for column, vector in read_object(folder, name).named().items()}
