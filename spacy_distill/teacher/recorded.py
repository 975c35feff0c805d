"""Labels and raw replies that were made elsewhere, served as a model's answers."""

import json
import logging
import math
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Callable, Dict, List, Optional, Tuple

from ..errors import InputError
from ..records import read_records
from ..texts import from_cell, names_in, text_of
from ..types import ConfidenceKind
from .base import Request, TeacherModel
from .types import Reply, ReplyMeta

logger = logging.getLogger("spacy_distill")

_Span = Tuple[int, int, str, Optional[float]]


class Recorded(TeacherModel):
    """Answers a prompt with what a file has for the prompt's text.

    A record holds a label, a list of labels, or a list of spans, which are `[start, end, label]` or objects with these
    names and perhaps a `score`, 0 to 1, with half-open character offsets; or, in `reply_field`, a model's raw reply,
    for the task to parse. A label that is null or missing is a reply that nobody could read, which the task counts
    as "unparsed". A text that the file does not have gets the status "error". Where a text occurs several times,
    its records are given in turn, as often as it is asked for, whatever the ids, which no model sees: labels that
    contradict each other reach the rule `duplicates`. The file is the ledger: no other is kept.

    path (Path): JSONL, CSV, TSV or Parquet; read when the first prompt comes.
    reply_field (Optional[str]): Where raw replies stand. With it, labels are not looked at.
    label_field (str): Where labels stand.
    confidence_field (Optional[str]): Where the source's own confidence stands, 0 to 1: one for the answer, or a list
        with one for each span.
    confidence_kind (ConfidenceKind): What that confidence, or the `score` of a span, is.
    logprob_field (Optional[str]): Where log-probabilities stand, in the same way. They come before confidences, and
        both before the `score` of a span.
    text_field (str): Where texts stand.
    """

    costs = False

    def __init__(
        self,
        path: Path,
        *,
        reply_field: Optional[str] = None,
        label_field: str = "llm",
        confidence_field: Optional[str] = None,
        confidence_kind: ConfidenceKind = "verbalised",
        logprob_field: Optional[str] = None,
        text_field: str = "text",
    ) -> None:
        super().__init__()
        self.path = Path(path)
        self._answer_field = reply_field or label_field
        self._reads_replies = reply_field is not None
        self._confidence_field = confidence_field
        self._confidence_kind: ConfidenceKind = confidence_kind
        self._logprob_field = logprob_field
        self._text_field = text_field
        self._replies: Optional[Dict[str, List[Reply]]] = None

    @property
    def name(self) -> str:
        return self.path.name

    @property
    def endpoint(self) -> str:
        return "recorded"

    @property
    def params(self) -> Dict[str, Any]:
        return {"field": self._answer_field}

    def _ask(self, requests: Iterator[Request]) -> Iterator[tuple[Request, Reply]]:
        if self._replies is None:
            self._replies = self._read()
        error = f"no reply recorded for this text in {self.name}"
        missing = Reply("", ReplyMeta(status="error", error=error, model=self.name))
        turns: Counter[str] = Counter()
        for request in requests:
            text = request.prompt.text
            recorded = self._replies.get(text, [missing])
            yield request, recorded[turns[text] % len(recorded)]
            turns[text] += 1

    def _read(self) -> Dict[str, List[Reply]]:
        """RETURNS (Dict[str, List[Reply]]): Text to its replies, in the file's order.

        RAISES (InputError): A record without text, labels of another form, or a field that no record has.
        """
        replies: Dict[str, List[Reply]] = {}
        first: Dict[str, str] = {}
        conflicts: List[str] = []
        fields: Dict[str, None] = {}
        for where, record in read_records(self.path):
            fields.update(dict.fromkeys(record))
            text = text_of(record, self._text_field, where, "Name the field in `text_field`.")
            reply = self._reply(where, record)
            recorded = replies.setdefault(text, [])
            recorded.append(reply)
            before = first.setdefault(text, where)
            if _said(recorded[0]) != _said(reply):
                conflicts.append(f"{where} contradicts {before}")
        for field in (self._answer_field, self._confidence_field, self._logprob_field):
            if field is not None and field not in fields:
                raise InputError(f"{self.path}: no record has the field {field!r} (they have: {names_in(fields)}).")
        if conflicts:
            logger.warning(
                "%s: %d %s a text with another answer (%s%s). No model sees ids: each time such a text comes, it is"
                " given the next of its answers, in the file's order.",
                self.path,
                len(conflicts),
                "record repeats" if len(conflicts) == 1 else "records repeat",
                conflicts[0],
                "" if len(conflicts) == 1 else ", …",
            )
        return replies

    def _reply(self, where: str, record: Mapping[str, Any]) -> Reply:
        answer = record.get(self._answer_field)
        if not self._reads_replies:
            answer = from_cell(answer)
        if answer is None:
            return Reply("", ReplyMeta(model=self.name))
        text, spans = "", None
        if self._reads_replies and isinstance(answer, str):
            text = answer
        elif isinstance(answer, str):
            text = json.dumps({"label": answer}, ensure_ascii=False)
        elif isinstance(answer, (list, tuple)) and not self._reads_replies:
            if all(isinstance(item, str) for item in answer):
                text = json.dumps({"labels": list(answer)}, ensure_ascii=False)
            if not text or not answer:  # An empty list is an answer to either question.
                spans = self._spans(where, record, answer)
        else:
            expected = (
                "a raw reply" if self._reads_replies else "a label, a list of labels, or a list of [start, end, label]"
            )
            raise InputError(f"{where}: expected {expected} in {self._answer_field!r}, found {answer!r}.")
        confidence, kind = self._confidence(where, record, spans)
        meta = ReplyMeta(model=self.name, confidence=confidence, confidence_kind=kind, spans=spans)
        return Reply(text, meta)

    def _confidence(
        self, where: str, record: Mapping[str, Any], spans: Optional[List[_Span]]
    ) -> Tuple[Optional[float], Optional[ConfidenceKind]]:
        """RETURNS (Tuple[Optional[float], Optional[ConfidenceKind]]): Of the whole answer; of spans that have scores of
        their own, the kind alone."""
        kind = self._confidence_kind
        for field, what, read in self._sources():
            found = self._value(record, field)
            if isinstance(found, (list, tuple)) and spans is None:
                raise InputError(f"{where}: expected a number in {field!r}, found {found!r}: only spans have one each.")
            if found is not None:
                kind = what
                if not isinstance(found, (list, tuple)):
                    return read(where, found), kind
                break
        return None, kind if any(score is not None for *_, score in spans or ()) else None

    def _spans(self, where: str, record: Mapping[str, Any], answer: Any) -> List[_Span]:
        length = len(record[self._text_field])
        spans: List[_Span] = []
        for item, score in zip(answer, self._scores(where, record, len(answer)), strict=True):
            if isinstance(item, Mapping):
                if score is None and item.get("score") is not None:
                    score = _share(where, item["score"])
                item = (item.get("start"), item.get("end"), item.get("label"))
            start, end, label = item if isinstance(item, (list, tuple)) and len(item) == 3 else (None, None, None)
            if not (isinstance(start, int) and isinstance(end, int) and isinstance(label, str)):
                raise InputError(f"{where}: expected [start, end, label] in {self._answer_field!r}, found {item!r}.")
            if not 0 <= start < end <= length:
                raise InputError(f"{where}: {start}-{end} lies outside its text of {length} characters.")
            spans.append((start, end, label, score))
        return spans

    def _scores(self, where: str, record: Mapping[str, Any], count: int) -> List[Optional[float]]:
        """RETURNS (List[Optional[float]]): What the record's fields say of each span, 0 to 1."""
        for field, _, read in self._sources():
            listed = self._value(record, field)
            if not isinstance(listed, (list, tuple)):
                continue
            if len(listed) != count:
                raise InputError(
                    f"{where}: expected as many numbers in {field!r} as there are spans, {count}; found {listed!r}."
                )
            return [None if value is None else read(where, value) for value in listed]
        return [None] * count

    def _sources(self) -> List[Tuple[Optional[str], ConfidenceKind, Callable[[str, Any], float]]]:
        """RETURNS (List[Tuple[Optional[str], ConfidenceKind, Callable]]): Fields, their kind, how they are read."""
        return [
            (self._logprob_field, "logprob", _probability),
            (self._confidence_field, self._confidence_kind, _share),
        ]

    def _value(self, record: Mapping[str, Any], field: Optional[str]) -> Any:
        return record.get(field) if field else None


def _said(reply: Reply) -> Tuple[str, List[Tuple[int, int, str]]]:
    """RETURNS (Tuple[str, List[Tuple[int, int, str]]]): A reply's answer, however sure."""
    return str(reply), [(start, end, label) for start, end, label, _ in reply.meta.spans or ()]


def _number(where: str, value: Any) -> float:
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if isinstance(value, bool) or not math.isfinite(number):
        raise InputError(f"{where}: expected a number, found {value!r}.")
    return number


def _share(where: str, value: Any) -> float:
    number = _number(where, value)
    if not 0.0 <= number <= 1.0:
        hint = " Log-probabilities have a field of their own: `logprob_field`." if number < 0.0 else ""
        raise InputError(f"{where}: expected a confidence from 0 to 1, found {value!r}.{hint}")
    return number


def _probability(where: str, logprob: Any) -> float:
    number = _number(where, logprob)
    if number > 0.0:
        raise InputError(f"{where}: expected a log-probability, which is 0 or less, found {logprob!r}.")
    return math.exp(number)


make_recorded = Recorded
"""`spacy_distill.Recorded.v1`: spaCy-llm reads the settings off the constructor."""
