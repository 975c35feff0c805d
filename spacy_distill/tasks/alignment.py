"""From a teacher's quotes to characters and tokens: every mention, and nothing dropped in silence."""

from __future__ import annotations

import html
import re
import unicodedata
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from spacy.tokens import Doc
from spacy.tokens import Span as DocSpan

from ..types import Span

Reason = Literal["not_found", "boundary", "unknown_label", "outside", "two_labels", "overlap"]
"""Why a quote marks nothing: it is not in the text; it cuts a word in two; its label was not offered; its offsets lie
outside the text, are another span's with another label, or reach into a longer span."""


@dataclass(frozen=True, slots=True)
class Quote:
    """A stretch of text as a teacher wrote it down.

    text (str): Its words.
    label (str): The label it was given.
    score (Optional[float]): How sure the teacher was, 0 to 1.
    """

    text: str
    label: str
    score: float | None = None


@dataclass(frozen=True, slots=True)
class Unaligned:
    """A quote that marks nothing, and why.

    quote (str): Its words.
    label (str): The label it was given.
    reason (Reason): Why.
    place (Optional[Span]): The tokens it touches, where its source gave offsets. Something is there, but not known
        what: they must not count as outside of entities.
    """

    quote: str
    label: str
    reason: Reason
    place: Span | None = None


_OUTER = " \t\r\n\"'`*_“”‘’«»()[]{}<>.,;:!?…-–—"
_ALIKE = str.maketrans(
    {**dict.fromkeys("‘’‚‛′`´", "'"), **dict.fromkeys("“”„‟″«»", '"'), **dict.fromkeys("‐‑‒–—―−", "-"), "⁄": "/"}
)
# A character with the marks that belong to it, a run of space, or an HTML entity: what can only match as a whole.
_CLUSTER = re.compile(r"&(?:#\d{1,7}|#x[0-9a-f]{1,6}|[a-z]{2,8});|\s+|.", re.IGNORECASE | re.DOTALL)
# Scripts that write words without space between: Thai, Lao, Burmese, Khmer, kana, Chinese characters.
_UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)

_JOINED = frozenset("\u200d\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff")  # emoji: the joiner, skin tones


class Mentions:
    """Finds quotes in one text, in four steps of tolerance; the first step that finds a quote decides.

    0. As it stands: for single words with a capital, so that "US" never stands for "us". 1. Without case: where other
    quotes start, as "salt" may open a sentence. 2. Without Unicode form, kinds of space,
    quotation marks, dashes and HTML entities. 3. Without accents and invisible characters, and without the quote's
    outer punctuation.

    text (str): The text. Offsets are half-open, in its Unicode code points.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        self._steps: dict[int, tuple[str, list[tuple[int, int]]]] = {}

    def find(self, quote: str) -> list[tuple[int, int]]:
        """RETURNS (List[Tuple[int, int]]): Start and end of every mention, in order. Mentions inside words count only
        if there is no other."""
        inside: list[tuple[int, int]] = []
        for step in range(1 if quote == quote.lower() or len(quote.split()) > 1 else 0, 4):
            found = self._find(quote, step)
            whole = [(start, end) for start, end in found if not (self._cuts(start) or self._cuts(end))]
            if whole:
                return whole
            inside = inside or found
        return inside

    def _find(self, quote: str, step: int) -> list[tuple[int, int]]:
        wanted, _ = _folded(quote.strip(_OUTER) if step == 3 else quote.strip(), step)
        if not wanted:
            return []
        if step not in self._steps:
            self._steps[step] = _folded(self.text, step)
        text, offsets = self._steps[step]
        found, position = [], text.find(wanted)
        while position >= 0:
            end = position + len(wanted)
            starts_whole = position == 0 or offsets[position - 1] != offsets[position]
            ends_whole = end == len(text) or offsets[end - 1] != offsets[end]
            if starts_whole and ends_whole:
                found.append((offsets[position][0], offsets[end - 1][1]))
            position = text.find(wanted, end if starts_whole and ends_whole else position + 1)
        return found

    def _cuts(self, offset: int) -> bool:
        around = self.text[max(offset - 1, 0) : offset + 1]
        return (
            0 < offset < len(self.text)
            and all(char.isalnum() or char == "_" for char in around)
            and not _UNSPACED.search(around)
        )


def _folded(text: str, step: int) -> tuple[str, list[tuple[int, int]]]:
    """Fold a text, and keep for each folded character where its cluster stands in the text."""
    clusters: list[list[int]] = []
    for match in _CLUSTER.finditer(text):
        if clusters and (unicodedata.category(match.group()[0])[0] == "M" or match.group() in _JOINED):
            clusters[-1][1] = match.end()
        elif step < 2 and match.end() - match.start() > 1:
            clusters.extend([at, at + 1] for at in range(match.start(), match.end()))
        else:
            clusters.append([match.start(), match.end()])
    pieces, offsets = [], []
    for start, end in clusters:
        piece = _fold(text[start:end], step)
        pieces.append(piece)
        offsets.extend([(start, end)] * len(piece))
    return "".join(pieces), offsets


def _fold(cluster: str, step: int) -> str:
    if step == 0:
        return cluster
    if step == 1:
        return cluster.casefold()
    if cluster.isspace():
        return " "
    if len(cluster) > 1 and cluster[0] == "&":
        cluster = html.unescape(cluster)
    folded = unicodedata.normalize("NFKD", unicodedata.normalize("NFKD", cluster).casefold()).translate(_ALIKE)
    if step == 3:
        folded = "".join(char for char in folded if unicodedata.category(char) not in ("Mn", "Me", "Cf"))
    return " " if folded.isspace() else folded


class Tokens:
    """Where a doc's tokens stand: looked up, not searched, so that long texts with many entities stay cheap.

    doc (Doc): The doc.
    """

    def __init__(self, doc: Doc) -> None:
        self.doc = doc
        self.text = doc.text
        self._starts = [token.idx for token in doc]
        self._ends = [token.idx + len(token) for token in doc]

    def fit(self, start: int, end: int) -> tuple[int, int] | None:
        """Move both ends of a stretch to token boundaries, outwards or else inwards, past nothing but punctuation.

        RETURNS (Optional[Tuple[int, int]]): Character offsets; None if a word would be cut or added to.
        """
        while start < end and self.text[start].isspace():
            start += 1
        while start < end and self.text[end - 1].isspace():
            end -= 1
        if start >= end:
            return None
        first, last = bisect_right(self._starts, start) - 1, bisect_left(self._ends, end)
        if _has_word(self.text[self._starts[first] : start]):
            if _has_word(self.text[start : self._ends[first]]):
                return None
            first += 1
        if _has_word(self.text[end : self._ends[last]]):
            if _has_word(self.text[self._starts[last] : end]):
                return None
            last -= 1
        while first <= last and self.doc[first].is_space:
            first += 1
        while first <= last and self.doc[last].is_space:
            last -= 1
        return (self._starts[first], self._ends[last]) if first <= last else None

    def unaligned(self, span: Span, reason: Reason) -> Unaligned:
        """RETURNS (Unaligned): A span that marks nothing, and the tokens it touches."""
        quote = self.text[span.start : span.end]
        start, end = span.start + len(quote) - len(quote.lstrip()), span.start + len(quote.rstrip())
        if start >= end:
            return Unaligned(quote, span.label, reason)
        first, last = bisect_right(self._starts, start) - 1, bisect_left(self._ends, end)
        return Unaligned(quote, span.label, reason, Span(self._starts[first], self._ends[last], ""))

    def span(self, span: Span) -> DocSpan:
        """RETURNS (DocSpan): The same stretch on the doc. It must stand on token boundaries, as `fit` leaves it."""
        first, last = bisect_left(self._starts, span.start), bisect_left(self._ends, span.end)
        return DocSpan(self.doc, first, last + 1, label=span.label)


def _has_word(text: str) -> bool:
    return any(char.isalnum() for char in text)


def align_quotes(
    tokens: Tokens, quotes: Sequence[Quote], part: tuple[int, int] | None = None
) -> tuple[list[Span], list[Unaligned]]:
    """Find every mention of every quote, on token boundaries.

    A quote listed several times with different labels is dealt out in order: its first listing takes the first mention,
    the second the second. Where they do not come out even, the rest of the listings share the last mention (which
    `without_conflicts` sets apart), or the rest of the mentions the last listing.

    quotes (Sequence[Quote]): In the order in which the teacher gave them.
    part (Optional[Tuple[int, int]]): Start and end of the part of the text that was quoted. None: all of it.
    RETURNS (Tuple[List[Span], List[Unaligned]]): Spans in the order of the text, which may overlap; the quotes that
        mark nothing.
    """
    first, last = part or (0, len(tokens.text))
    mentions = Mentions(tokens.text[first:last])
    listings: dict[str, list[Quote]] = {}
    for quote in quotes:
        listings.setdefault(" ".join(quote.text.split()), []).append(quote)
    spans: dict[tuple[int, int, str], Span] = {}
    unaligned: list[Unaligned] = []
    for listed in listings.values():
        found = mentions.find(listed[0].text)
        fitted = [span for start, end in found if (span := tokens.fit(first + start, first + end)) is not None]
        if not fitted:
            reason: Reason = "boundary" if found else "not_found"
            unaligned.extend(Unaligned(quote.text, quote.label, reason) for quote in listed)
            continue
        dealt = len({quote.label for quote in listed}) > 1
        for number, quote in enumerate(listed):
            last = number == len(listed) - 1
            theirs = fitted[min(number, len(fitted) - 1) : None if last else number + 1] if dealt else fitted
            for start, end in theirs:
                key = (start, end, quote.label)
                scores = [quote.score, spans[key].score if key in spans else None]
                spans[key] = Span(*key, max((score for score in scores if score is not None), default=None))
    return sorted(spans.values(), key=lambda span: (span.start, span.end)), unaligned


def align_spans(tokens: Tokens, spans: Iterable[Span]) -> tuple[list[Span], list[Unaligned]]:
    """Fit exact offsets to token boundaries.

    RETURNS (Tuple[List[Span], List[Unaligned]]): As for `align_quotes`.
    """
    fitted: list[Span] = []
    unaligned: list[Unaligned] = []
    for span in spans:
        if not 0 <= span.start < span.end <= len(tokens.text):
            unaligned.append(Unaligned(f"{span.start}-{span.end}", span.label, "outside"))
        elif (found := tokens.fit(span.start, span.end)) is None:
            unaligned.append(tokens.unaligned(span, "boundary"))
        else:
            fitted.append(Span(*found, span.label, span.score))
    return sorted(fitted, key=lambda span: (span.start, span.end)), unaligned


def without_conflicts(tokens: Tokens, spans: Sequence[Span]) -> tuple[list[Span], list[Unaligned]]:
    """Set spans apart that contradict others: those of one place that are equally sure of different labels, and those
    that reach into a longer one. What lies within a longer one does not contradict it.

    spans (Sequence[Span]): On token boundaries.
    RETURNS (Tuple[List[Span], List[Unaligned]]): The others, in their order; those set apart.
    """
    said: dict[tuple[int, int], dict[str, float]] = {}
    for span in spans:
        scores = said.setdefault((span.start, span.end), {})
        scores[span.label] = max(span.score or 0.0, scores.get(span.label, 0.0))
    torn = {place for place, scores in said.items() if [*scores.values()].count(max(scores.values())) > 1}
    taken: set[int] = set()
    for span in without_overlaps([span for span in spans if (span.start, span.end) not in torn]):
        taken.update(range(span.start, span.end))
    kept: list[Span] = []
    unaligned: list[Unaligned] = []
    for span in spans:
        if (span.start, span.end) in torn:
            unaligned.append(tokens.unaligned(span, "two_labels"))
        elif not taken.issuperset(range(span.start, span.end)):
            unaligned.append(tokens.unaligned(span, "overlap"))
        else:
            kept.append(span)
    return kept, unaligned


def without_overlaps(spans: Sequence[Span], *, surest_first: bool = False) -> tuple[Span, ...]:
    """RETURNS (Tuple[Span, ...]): In order, none overlapping: longer ones win, then surer ones, then earlier ones; or
    the surer ones first."""

    def rank(span: Span) -> tuple[float, float]:
        longer, surer = span.start - span.end, -(span.score or 0.0)
        return (surer, longer) if surest_first else (longer, surer)

    kept: list[Span] = []
    taken: set[int] = set()
    for span in sorted(spans, key=rank):
        if taken.isdisjoint(range(span.start, span.end)):
            taken.update(range(span.start, span.end))
            kept.append(span)
    return tuple(sorted(kept, key=lambda span: span.start))
