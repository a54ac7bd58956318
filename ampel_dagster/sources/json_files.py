"""Packets in JSON: objects one after the other, a list of them, or one a line.

A packet is the text of its object, as it stands in the file: instruments read it, and quarantine keeps it.
"""

import json
from collections.abc import Iterator
from typing import IO, TextIO

#: The largest packet; more is read of no file before it is given up.
MAX_PACKET_BYTES = 64 * 1024 * 1024
_CHUNK = 1 << 18


def read_lines(file: IO[bytes]) -> Iterator[bytes]:
    """One packet a line; empty lines are passed over. What a line holds is not looked at.

    Raises ValueError for a line that is too long.
    """
    while line := file.readline(MAX_PACKET_BYTES + 1):
        if len(line) > MAX_PACKET_BYTES:
            raise ValueError(f"a line has more than {MAX_PACKET_BYTES >> 20} MB")
        if packet := line.strip():
            yield packet


def read_objects(file: TextIO) -> Iterator[bytes]:
    """The objects of a file, in a list or not; `file` decodes with ``surrogateescape``.

    Raises ValueError or RecursionError at what is no object.
    """
    text = _Text(file)
    in_list = text.peek() == "["
    if in_list:
        text.skip()
    elif not text.peek():
        raise ValueError("it is empty")
    first = True
    while (letter := text.peek()) and not (in_list and letter == "]"):
        if in_list and not first:
            text.expect(",")
        yield text.take_object().encode("utf-8", "surrogateescape")
        first = False
    if in_list:
        text.expect("]")
        if text.peek():
            raise ValueError("something follows the list")


class _Text:
    """Text of a file, held as far as the object that is being read."""

    def __init__(self, file: TextIO) -> None:
        self._file = file
        self._held = ""
        self._at = 0
        self._decoder = json.JSONDecoder()

    def peek(self) -> str:
        """The next letter that is no space; empty at the end."""
        while True:
            while self._at < len(self._held):
                if not self._held[self._at].isspace():
                    return self._held[self._at]
                self._at += 1
            if not self._more(_CHUNK):
                return ""

    def skip(self) -> None:
        self._at += 1

    def expect(self, letter: str) -> None:
        found = self.peek()
        if found != letter:
            raise ValueError(f"{letter!r} is expected, {_seen(found)} is there")
        self.skip()

    def take_object(self) -> str:
        """The object that begins here."""
        found = self.peek()
        if found != "{":
            raise ValueError(f"an object is expected, {_seen(found)} is there")
        while True:
            try:
                _, end = self._decoder.raw_decode(self._held, self._at)
            except json.JSONDecodeError:
                # Is it wrong, or not yet all here? More each time, so that a long object is not tried too often.
                held = len(self._held) - self._at
                if held > MAX_PACKET_BYTES or not self._more(max(held, _CHUNK)):
                    raise
                continue
            taken, self._at = self._held[self._at : end], end
            return taken

    def _more(self, letters: int) -> bool:
        read = self._file.read(letters)
        self._held, self._at = self._held[self._at :] + read, 0
        return bool(read)


def _seen(letter: str) -> str:
    return ascii(letter) if letter else "the end"
