"""Offsets in UTF-16 code units, as JavaScript counts, and in code points, as Python does. They differ after the first
character beyond U+FFFF, such as an emoji."""

from __future__ import annotations


def to_utf16(text: str, offset: int) -> int:
    """RETURNS (int): An offset in code points, counted in UTF-16 code units."""
    return offset + sum(char > "\uffff" for char in text[:offset])


def from_utf16(text: str, offset: int) -> int | None:
    """RETURNS (Optional[int]): An offset in UTF-16 code units, counted in code points; None if it is inside a
    character or outside the text."""
    if text.isascii():
        return offset if 0 <= offset <= len(text) else None
    position = 0
    for index, char in enumerate(text):
        if position >= offset:
            return index if position == offset else None
        position += 1 + (char > "\uffff")
    return len(text) if position == offset else None
