"""`spacy_distill.NER.v1`: entities quoted by a teacher, for spaCy-llm's `llm_ner`."""

import json
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from spacy.tokens import Doc

from ..docs import SPANS_KEY, set_entities
from ..errors import ConfigError
from ..teacher.types import Prompt, Reply
from ..texts import check_labels, gold_annotations, suggestion
from ..types import Annotation, ConfidenceKind, Span, Status, Text
from .alignment import (
    Mentions,
    Quote,
    Tokens,
    Unaligned,
    align_quotes,
    align_spans,
    without_conflicts,
    without_overlaps,
)
from .base import Task
from .entity_parsing import Entity, parse_entities
from .frames import Example, Frames, Pick
from .labels_combined import surest_side
from .names import Names
from .parts import Part
from .replies import probability_of
from .spans_combined import SpanReading, merge, vote
from .templating import Template, read_examples

TEMPLATES = {"instruct": "ner.jinja"}


class NERTask(Task):
    """Entities: the teacher quotes them, and every mention of a quote is marked.

    Sets `doc.ents` (no overlaps: longer entities win, then surer ones; with votes, what at least half of the samples
    named, the surest first) and `doc.spans["teacher"]` (every mention of
    every quote, with scores in `attrs["scores"]`) where the reply could be read, and leaves them alone elsewhere.
    Quotes that mark nothing are noted under `unaligned`, each with its reason. Where equally sure ones give one place
    two labels, or reach into a longer one, its tokens are missing. Labels made elsewhere have offsets instead of
    quotes: where such a span marks nothing, its tokens are missing unless another span marks them.

    A span's score from log-probabilities is the probability of its quote and label as the model wrote them: exp of the
    sum, not of the mean, of their tokens' log-probabilities. The sum is a probability whatever the number of tokens;
    and as the later tokens of a copied quote are near certain, long quotes lose little by it. From votes it is the
    share of the samples that named the span; a verbalised one is the model's own figure for each entity. The text's
    confidence is that of the span it is least sure of; with votes, of the closest decision for or against a span.

    labels (Sequence[str]): The labels on offer.
    definitions (Optional[Mapping[str, str]]): Label to what it means, for the prompt.
    examples (Union[str, Sequence[Mapping[str, Any]], None]): Texts with their answers,
        `{"text", "entities": [{"text", "label"}, ...]}`; or the path of a file of them. A gold file will do: its field
        is `gold`, with `[start, end, label]`.
    shots, pick: How many of the examples to show, and which: see `Frames`. None: all of them.
    template (str): "instruct", or the path of a Jinja file. A file may use `text` (exactly once), `labels` (each with
        `name` and `definition`), `examples` (each with `text`, `entities` and `answer`, which is JSON), `instruction`,
        `noun` and `form` (of the JSON answer). The reply may be that JSON, or lines of `LABEL: quote, quote`.
    instruction (Optional[str]): What to do, in a sentence.
    noun (str): What the prompt calls a text.
    confidence, samples, max_chars: See `Task`. A part of a long text whose reply cannot be used is marked as missing.
    RAISES (ConfigError): Any of these cannot work.
    """

    task = "ner"

    def __init__(
        self,
        labels: Sequence[str],
        *,
        definitions: Optional[Mapping[str, str]] = None,
        examples: Union[str, Sequence[Mapping[str, Any]], None] = None,
        template: str = "instruct",
        instruction: Optional[str] = None,
        noun: str = "Text",
        confidence: ConfidenceKind = "logprob",
        samples: Optional[int] = None,
        max_chars: Optional[int] = None,
        shots: Optional[int] = None,
        pick: Pick = "diverse",
    ) -> None:
        super().__init__(confidence, samples, max_chars)
        self.labels = check_labels(labels)
        for label in definitions or {}:
            if label not in self.labels:
                raise ConfigError(f"Unknown label {label!r} in `definitions`.{suggestion(label, self.labels)}")
        stated = confidence == "verbalised"
        self.names = Names({label: label for label in self.labels})
        self.frames = Frames(
            Template(template, TEMPLATES),
            {
                "labels": [{"name": label, "definition": (definitions or {}).get(label, "")} for label in self.labels],
                "instruction": instruction or "",
                "noun": noun,
                "form": '{"entities": [{"text": "...", "label": "..."%s}]}' % (', "confidence": ...' * stated),
                "confidence": stated,
            },
            [self._example(where, record) for where, record in read_examples(examples)],
            shots,
            pick,
        )
        self.schema = self._schema() if template in TEMPLATES else None

    def prompt(self, text: str, frame: Optional[Tuple[str, str]] = None) -> Prompt:
        """RETURNS (Prompt): With a `schema`, unless the template is the user's."""
        prefix, suffix = frame or self.frames.usual
        return Prompt(text, prefix=prefix, suffix=suffix, schema=self.schema)

    def parse(self, doc: Doc, replies: Sequence[Reply]) -> Dict[str, Any]:
        """Set `doc.ents` and `doc.spans["teacher"]` from a doc's replies, if they can be read.

        RETURNS (Dict[str, Any]): The facts to note; `unaligned` has the quotes that mark nothing.
        """
        tokens = Tokens(doc)
        readings, parts = [], []
        for part, samples in self.parts(doc.text, replies):
            read = [self.read(tokens, reply, part) for reply in samples]
            readings.append(vote(read) if self.samples > 1 else read[0])
            parts.append(part)
        found = merge(readings, parts)
        if found.status == "ok":
            self._set(tokens, found)
        confidence, kind = self._confidence(found, replies[0])
        return {
            "status": found.status,
            "labels": list(self.labels),
            "confidence": confidence,
            "confidence_kind": None if confidence is None else kind,
            "unaligned": [
                {"quote": each.quote, "label": each.label, "reason": each.reason} for each in found.unaligned
            ],
        }

    def _set(self, tokens: Tokens, found: SpanReading) -> None:
        doc, spans = tokens.doc, found.spans
        if self.samples > 1:
            spans = without_overlaps([span for span in spans if (span.score or 0.0) >= 0.5], surest_first=True)
        else:
            spans = without_overlaps(spans)
        unread = [doc.char_span(span.start, span.end, alignment_mode="contract") for span in found.unread]
        unknown = [tokens.span(each.place) for each in found.unaligned if each.place is not None]
        missing = [*unknown, *(span for span in unread if span is not None)]
        set_entities(doc, [tokens.span(span) for span in spans], missing)
        doc.spans[SPANS_KEY] = [tokens.span(span) for span in found.spans]
        doc.spans[SPANS_KEY].attrs["scores"] = [span.score for span in found.spans]

    def _confidence(self, found: SpanReading, reply: Reply) -> Tuple[Optional[float], Optional[ConfidenceKind]]:
        if found.status != "ok":
            return None, None
        if self.samples > 1:
            return surest_side(span.score or 0.0 for span in found.spans), "votes"
        if reply.meta.confidence is not None:
            return reply.meta.confidence, reply.meta.confidence_kind
        scores = [span.score for span in found.spans if span.score is not None]
        if not scores or len(scores) < len(found.spans):
            return None, None
        stated = self.confidence == "verbalised" and reply.meta.spans is None
        return min(scores), reply.meta.confidence_kind or ("verbalised" if stated else "logprob")

    def read(self, tokens: Tokens, reply: Reply, part: Part) -> SpanReading:
        """RETURNS (SpanReading): What one reply says of a part of a text."""
        meta = reply.meta
        if meta.status in ("error", "refused"):
            return SpanReading("error" if meta.status == "error" else "abstain")
        if meta.spans is not None:
            given, unknown = [], []
            for start, end, said, *score in meta.spans:
                label = self.names.find(said)
                span = Span(part[0] + start, part[0] + end, said if label is None else label, *score)
                if label is None:
                    unknown.append(tokens.unaligned(span, "unknown_label"))
                else:
                    given.append(span)
            spans, unaligned = align_spans(tokens, given)
        else:
            entities = parse_entities(reply, self.names, truncated=meta.status == "truncated")
            if entities is None:
                return SpanReading("unparsed")
            quotes = [
                Quote(entity.quote, entity.label, self._score(entity, reply))
                for entity in entities
                if entity.label is not None
            ]
            unknown = [Unaligned(each.quote, each.said, "unknown_label") for each in entities if each.label is None]
            spans, unaligned = align_quotes(tokens, quotes, part)
        if self.samples == 1:  # Else the votes decide.
            spans, torn = without_conflicts(tokens, spans)
            unaligned += torn
        status: Status = "unknown_label" if unknown and not (spans or unaligned) else "ok"
        return SpanReading(status, tuple(spans), (*unaligned, *unknown))

    def _score(self, entity: Entity, reply: Reply) -> Optional[float]:
        if self.confidence == "verbalised":
            return entity.confidence
        return probability_of(entity.places, reply, reply.meta.tokens or ())

    def _example(self, where: str, record: Mapping[str, Any]) -> Example:
        text, entities = record.get("text"), record.get("entities")
        if isinstance(text, str) and entities is None and "gold" in record:
            (gold,) = gold_annotations([Text("", text, gold=record["gold"], where=where)], "ner", labels=self.labels)
            entities = _listed(gold)
        if not isinstance(text, str) or not isinstance(entities, (list, tuple)):
            raise ConfigError(f'{where}: expected {{"text": ..., "entities": [...]}}, found {dict(record)!r}.')
        mentions = Mentions(text)
        for entity in entities:
            if not isinstance(entity, Mapping) or not {"text", "label"} <= set(entity):
                raise ConfigError(f'{where}: expected entities as {{"text": ..., "label": ...}}, found {entity!r}.')
            if entity["label"] not in self.labels:
                hint = suggestion(str(entity["label"]), self.labels)
                raise ConfigError(f"{where}: unknown label {entity['label']!r}.{hint}")
            if not mentions.find(str(entity["text"])):
                raise ConfigError(f"{where}: its text does not hold the entity {entity['text']!r}. Quote it exactly.")
        listed = [{"text": entity["text"], "label": entity["label"]} for entity in entities]
        shown = {"text": text, "entities": listed, "answer": _answer(listed)}
        first, group = listed[0]["label"] if listed else "", record.get("group")
        return Example(text, first, None if group is None else str(group), shown)

    def answer(self, annotation: Annotation) -> Optional[str]:
        return _answer(_listed(annotation))

    def _schema(self) -> Dict[str, Any]:
        properties: Dict[str, Any] = {
            "text": {"type": "string"},
            "label": {"type": "string", "enum": list(self.labels)},
        }
        if self.confidence == "verbalised":
            properties["confidence"] = {"type": "number"}
        entity = {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }
        return {
            "type": "object",
            "properties": {"entities": {"type": "array", "items": entity}},
            "required": ["entities"],
            "additionalProperties": False,
        }


def _listed(annotation: Annotation) -> List[Dict[str, str]]:
    """RETURNS (List[Dict[str, str]]): Entities as quotes, in the order of the text."""
    return [{"text": annotation.text[span.start : span.end], "label": span.label} for span in annotation.ents or ()]


def _answer(listed: Sequence[Mapping[str, str]]) -> str:
    return json.dumps({"entities": listed}, ensure_ascii=False)


def make_ner_task(
    labels: List[str],
    definitions: Optional[Dict[str, str]] = None,
    examples: Optional[Union[str, List[Dict[str, Any]]]] = None,
    template: str = "instruct",
    instruction: Optional[str] = None,
    noun: str = "Text",
    confidence: ConfidenceKind = "logprob",
    samples: Optional[int] = None,
    max_chars: Optional[int] = None,
    shots: Optional[int] = None,
    pick: Pick = "diverse",
) -> NERTask:
    """Make the task `spacy_distill.NER.v1`. The settings are those of `NERTask`."""
    return NERTask(
        labels,
        definitions=definitions,
        examples=examples,
        template=template,
        instruction=instruction,
        noun=noun,
        confidence=confidence,
        samples=samples,
        max_chars=max_chars,
        shots=shots,
        pick=pick,
    )
