"""`spacy_distill.TextCat.v1`: text classification by a teacher, for spaCy-llm's `llm_textcat`."""

import json
import math
from typing import Any, Dict, List, Mapping, Optional, Sequence, Tuple, Union

from spacy.tokens import Doc

from ..errors import ConfigError
from ..teacher.types import Prompt, Reply
from ..texts import check_labels, suggestion
from ..types import Annotation, ConfidenceKind
from .base import Task
from .frames import Example, Frames, Pick
from .label_parsing import Answer, parse_labels
from .labels_combined import Reading, merge, surest_side, vote
from .names import NONE, Names
from .replies import probability_of
from .templating import Template, read_examples

TEMPLATES = {"instruct": "textcat_instruct.jinja", "complete": "textcat_complete.jinja"}


class TextCatTask(Task):
    """One label a text, or any number of them.

    Sets `doc.cats` where the reply could be read and the teacher did not decline, and leaves them alone elsewhere.

    labels (Sequence[str]): The labels on offer.
    definitions (Optional[Mapping[str, str]]): Label to what it means, for the prompt.
    words (Optional[Mapping[str, str]]): Label to how it is said in the prompt and in the answer, where not by its name.
    examples (Union[str, Sequence[Mapping[str, Any]], None]): Texts with their answers, `{"text", "label"}` or, if not
        exclusive, `{"text", "labels"}`; or the path of a file of them. A gold file will do: its field is `gold`.
    shots, pick: How many of the examples to show, and which: see `Frames`. None: all of them.
    exclusive (bool): Exactly one label a text.
    allow_none (bool): No label is an answer too: an abstention if exclusive, else all labels at 0.
    template (str): "instruct" asks for JSON; "complete" is a pattern to go on with, for models that only complete; or
        the path of a Jinja file. A file may use `text` (exactly once), `labels` (each with `name` and `definition`),
        `examples` (each with `text` and `answer`), `instruction`, `noun`, `question`, `form` (of a JSON answer),
        `separator`, `exclusive` and `allow_none`; its answers are words, not JSON.
    instruction (Optional[str]): What to do, in a sentence.
    noun (str): What the prompt calls a text.
    question (str): What the prompt calls the answer.
    confidence, samples, max_chars: See `Task`. With votes, `doc.cats` has each label's share of them. "verbalised"
        needs the template "instruct"; examples are shown without a confidence: any figure in them would be repeated.
    RAISES (ConfigError): Any of these cannot work.
    """

    task = "textcat"

    def __init__(
        self,
        labels: Sequence[str],
        *,
        definitions: Optional[Mapping[str, str]] = None,
        words: Optional[Mapping[str, str]] = None,
        examples: Union[str, Sequence[Mapping[str, Any]], None] = None,
        exclusive: bool = True,
        allow_none: bool = False,
        template: str = "instruct",
        instruction: Optional[str] = None,
        noun: str = "Text",
        question: str = "Label",
        confidence: ConfidenceKind = "logprob",
        samples: Optional[int] = None,
        max_chars: Optional[int] = None,
        shots: Optional[int] = None,
        pick: Pick = "diverse",
    ) -> None:
        super().__init__(confidence, samples, max_chars)
        self.labels = check_labels(labels)
        for setting, given in (("definitions", definitions), ("words", words)):
            for label in given or {}:
                if label not in self.labels:
                    raise ConfigError(f"Unknown label {label!r} in `{setting}`.{suggestion(label, self.labels)}")
        self.exclusive = exclusive
        self.allow_none = allow_none
        self.words = {label: (words or {}).get(label, label) for label in self.labels}
        self.names = Names(self.words)
        if allow_none and self.names.find(NONE):
            raise ConfigError(f"With `allow_none`, {NONE!r} means no label: call the label {NONE!r} something else.")
        self.question = question
        self.json = template == "instruct"
        if confidence == "verbalised" and not self.json:
            raise ConfigError('confidence = "verbalised" asks for JSON: use template = "instruct".')
        self.separator = "; " if any("," in word for word in self.words.values()) else ", "
        self.frames = Frames(
            Template(template, TEMPLATES),
            {
                "labels": [
                    {"name": self.words[label], "definition": (definitions or {}).get(label, "")}
                    for label in self.labels
                ],
                "instruction": instruction or "",
                "noun": noun,
                "question": question,
                "form": self._form(),
                "confidence": confidence == "verbalised",
                "separator": self.separator,
                "exclusive": exclusive,
                "allow_none": allow_none,
            },
            [self._example(where, record) for where, record in read_examples(examples)],
            shots,
            pick,
        )
        self.choices = self._choices() if exclusive and confidence == "logprob" else None
        self.schema = self._schema() if self.json else None

    def prompt(self, text: str, frame: Optional[Tuple[str, str]] = None) -> Prompt:
        """RETURNS (Prompt): With `choices` if exclusive, and with a `schema` if the answer is JSON."""
        prefix, suffix = frame or self.frames.usual
        return Prompt(text, prefix=prefix, suffix=suffix, choices=self.choices, schema=self.schema)

    def parse(self, doc: Doc, replies: Sequence[Reply]) -> Dict[str, Any]:
        """Set `doc.cats` from a doc's replies, if they say which.

        RETURNS (Dict[str, Any]): The facts to note; `unknown` has the names that are no labels.
        """
        readings, lengths = [], []
        for (start, end), samples in self.parts(doc.text, replies):
            read = [self.read(reply) for reply in samples]
            readings.append(vote(read, self.labels, exclusive=self.exclusive) if self.samples > 1 else read[0])
            lengths.append(end - start)
        found = merge(readings, lengths, self.labels, exclusive=self.exclusive)
        for label in self.labels:
            doc.cats.pop(label, None)
        doc.cats.update(found.cats)
        facts: Dict[str, Any] = {
            "status": found.status,
            "labels": list(self.labels),
            "exclusive": self.exclusive,
            "confidence": found.confidence,
            "confidence_kind": found.kind,
        }
        if found.unknown:
            facts["unknown"] = list(found.unknown)
        return facts

    def read(self, reply: Reply) -> Reading:
        """RETURNS (Reading): What one reply says."""
        meta = reply.meta
        cats: Dict[str, float] = {}
        confidence, kind = meta.confidence, meta.confidence_kind
        if meta.status in ("error", "refused"):
            answer = Answer("error" if meta.status == "error" else "abstain")
        elif meta.scores is not None:
            answer, cats = self._from_scores(meta.scores)
            if confidence is None and cats:
                confidence, kind = (
                    (max(cats.values()) if self.exclusive else surest_side(cats.values())),
                    kind or "logprob",
                )
        else:
            answer = parse_labels(
                reply,
                self.names,
                exclusive=self.exclusive,
                allow_none=self.allow_none,
                truncated=meta.status == "truncated",
                field=self.question,
            )
            if confidence is None and answer.status == "ok":
                confidence, kind = self._confidence(answer, reply)
            if answer.status == "ok":
                cats = self._cats(answer.labels, confidence if kind in ("logprob", "votes") else None)
        return Reading(answer.status, cats, confidence, None if confidence is None else kind, answer.unknown)

    def _confidence(self, answer: Answer, reply: Reply) -> Tuple[Optional[float], Optional[ConfidenceKind]]:
        """RETURNS (Tuple[Optional[float], Optional[ConfidenceKind]]): What was asked for; a model that gives no
        probabilities may still have said how sure it is."""
        if self.confidence != "verbalised":
            likely = probability_of(answer.places, reply, reply.meta.tokens or ())
            if likely is not None:
                return likely, "logprob"
        return answer.confidence, "verbalised"

    def _from_scores(self, scores: Mapping[str, float]) -> Tuple[Answer, Dict[str, float]]:
        cats = {label: float(scores.get(label, 0.0)) for label in self.labels}
        total = sum(cats.values())
        if not all(map(math.isfinite, scores.values())) or not (total > 0 or (scores and not self.exclusive)):
            return Answer("unparsed"), {}
        if not self.exclusive:
            return Answer("ok", tuple(label for label, score in cats.items() if score >= 0.5)), cats
        best = max(scores, key=lambda name: scores[name])
        if best not in cats:
            return (Answer("abstain") if best == NONE else Answer("unknown_label", unknown=(best,))), {}
        return Answer("ok", (best,)), {label: score / total for label, score in cats.items()}

    def _cats(self, labels: Sequence[str], probability: Optional[float]) -> Dict[str, float]:
        """Exclusive classes share what the stated one leaves, which stays the highest; several classes are 1 or 0."""
        others = len(self.labels) - 1
        if not self.exclusive or probability is None or not others:
            return {label: float(label in labels) for label in self.labels}
        stated = min(1.0, max(probability, 1.01 / (others + 1)))
        return {label: stated if label in labels else (1.0 - stated) / others for label in self.labels}

    def _example(self, where: str, record: Mapping[str, Any]) -> Example:
        key = "label" if self.exclusive else "labels"
        text, said = record.get("text"), record.get(key, record.get("gold"))
        labels: Any = [said] if self.exclusive and isinstance(said, str) else said
        if not isinstance(text, str) or not isinstance(labels, (list, tuple)) or (self.exclusive and len(labels) != 1):
            raise ConfigError(f'{where}: expected {{"text": ..., "{key}": ...}}, found {dict(record)!r}.')
        for label in labels:
            if label not in self.labels and not (self.allow_none and label == NONE):
                raise ConfigError(f"{where}: unknown label {label!r}.{suggestion(str(label), self.labels)}")
        answer = self._answer([self.words.get(str(label), NONE) for label in labels])
        first, group = str(labels[0]) if labels else "", record.get("group")
        return Example(text, first, None if group is None else str(group), {"text": text, "answer": answer})

    def answer(self, annotation: Annotation) -> Optional[str]:
        positive = annotation.positive()
        if not positive and not self.allow_none:
            return None
        return self._answer([self.words[label] for label in positive])

    def _answer(self, words: Sequence[str]) -> str:
        if not self.json:
            return self.separator.join(words) or NONE
        return json.dumps({"label": words[0]} if self.exclusive else {"labels": list(words)}, ensure_ascii=False)

    def _choices(self) -> Dict[str, str]:
        space = "" if self.frames.usual[1][-1:].isspace() else " "
        offered = {**self.words, NONE: NONE} if self.allow_none else self.words
        return {label: space + self._answer([word]) for label, word in offered.items()}

    def _form(self) -> str:
        label = '"label": "..."' if self.exclusive else '"labels": ["...", "..."]'
        return "{" + label + (', "confidence": ...}' if self.confidence == "verbalised" else "}")

    def _schema(self) -> Dict[str, Any]:
        one: Dict[str, Any] = {"type": "string", "enum": list(self.words.values())}
        if self.exclusive and self.allow_none:
            one["enum"].append(NONE)
        several: Dict[str, Any] = {"type": "array", "items": one}
        if not self.exclusive and not self.allow_none:
            several["minItems"] = 1
        properties = {"label": one} if self.exclusive else {"labels": several}
        if self.confidence == "verbalised":
            properties["confidence"] = {"type": "number"}
        return {
            "type": "object",
            "properties": properties,
            "required": list(properties),
            "additionalProperties": False,
        }


def make_textcat_task(
    labels: List[str],
    definitions: Optional[Dict[str, str]] = None,
    words: Optional[Dict[str, str]] = None,
    examples: Optional[Union[str, List[Dict[str, Any]]]] = None,
    exclusive: bool = True,
    allow_none: bool = False,
    template: str = "instruct",
    instruction: Optional[str] = None,
    noun: str = "Text",
    question: str = "Label",
    confidence: ConfidenceKind = "logprob",
    samples: Optional[int] = None,
    max_chars: Optional[int] = None,
    shots: Optional[int] = None,
    pick: Pick = "diverse",
) -> TextCatTask:
    """Make the task `spacy_distill.TextCat.v1`. The settings are those of `TextCatTask`."""
    return TextCatTask(
        labels,
        definitions=definitions,
        words=words,
        examples=examples,
        exclusive=exclusive,
        allow_none=allow_none,
        template=template,
        instruction=instruction,
        noun=noun,
        question=question,
        confidence=confidence,
        samples=samples,
        max_chars=max_chars,
        shots=shots,
        pick=pick,
    )
