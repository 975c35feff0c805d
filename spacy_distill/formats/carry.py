"""The whole record in plain types, carried along by formats that have no place for scores, groups or provenance.

It stands under the key `distill` where a tool hands foreign keys through. Where it was lost on the way, the text and
the answer are still read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import astuple, fields
from typing import Any

from ..errors import InputError
from ..types import Annotation, Span

KEY = "distill"
_SPANS = ("ents", "missing", "doubtful")


def pack(annotation: Annotation) -> dict[str, Any]:
    """RETURNS (Dict[str, Any]): All of a record but its text, of which it has the hash. For JSON."""
    packed = {item.name: getattr(annotation, item.name) for item in fields(annotation) if item.name != "text"}
    for name in _SPANS:
        if packed[name] is not None:
            packed[name] = [list(astuple(span)) for span in packed[name]]
    packed |= {"labels": list(annotation.labels)}
    packed |= {"provenance": dict(annotation.provenance), "notes": dict(annotation.notes)}
    if annotation.cats is not None:
        packed["cats"] = dict(annotation.cats)
    return {**packed, "text_sha256": _digest(annotation.text)}


def unpack(packed: Mapping[str, Any], text: str, where: str) -> Annotation | None:
    """The inverse of `pack`.

    RETURNS (Optional[Annotation]): None if the text is not the one that was packed.
    RAISES (InputError): It is not what `pack` makes.
    """
    try:
        if packed["text_sha256"] != _digest(text):
            return None
        values = {item.name: packed[item.name] for item in fields(Annotation) if item.name in packed}
        for name in _SPANS:
            if values.get(name) is not None:
                values[name] = tuple(Span(*span) for span in values[name])
        return Annotation(**{**values, "labels": tuple(values["labels"]), "text": text})
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{where}: what stands in {KEY!r} is not what `spacy-distill export` wrote. Take it out, and the record is"
            " read without it."
        ) from error


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf8")).hexdigest()[:16]
