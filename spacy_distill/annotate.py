"""Texts and a teacher pipeline in, annotated docs out: every reply through the ledger, no barrier between batches."""

from __future__ import annotations

import logging
import time
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, cast

from spacy.language import Language
from spacy.tokens import Doc
from spacy.util import load_config, load_model_from_config
from spacy_llm.pipeline import LLMWrapper
from spacy_llm.ty import ModelWithContextLength, supports_sharding

from .docs import annotations_of, facts_of, make_doc, note
from .errors import ConfigError, TeacherError
from .tasks.base import Task
from .teacher.base import Request, TeacherModel
from .teacher.ledger import Ledger
from .teacher.types import Reply, ReplyMeta, sha256
from .types import TaskName, Text

logger = logging.getLogger("spacy_distill")


@dataclass(frozen=True)
class Summary:
    """What a run of annotation did, and what it cost.

    texts (int): Texts that went in; as many docs come out.
    words (int): Whitespace words in them.
    statuses (Dict[str, Dict[str, int]]): Task to status to number of texts. Adds up to `texts` for each task.
    labels (Dict[str, Dict[str, int]]): Task to label to number of texts (classes) or entities with it.
    asked (int): Replies that were asked for in this run.
    from_ledger (int): Replies that were there already.
    unaligned (int): Quotes that a teacher made up, or that do not fit the text's tokens.
    prompt_tokens (int): Tokens read by the teacher in this run.
    reply_tokens (int): Tokens written by it.
    cost_usd (float): Price of the replies asked for in this run, where prices are known.
    seconds_s (float): Wall time.
    """

    texts: int
    words: int
    statuses: dict[str, dict[str, int]]
    labels: dict[str, dict[str, int]]
    asked: int
    from_ledger: int
    unaligned: int
    prompt_tokens: int
    reply_tokens: int
    cost_usd: float
    seconds_s: float

    def to_dict(self) -> dict[str, Any]:
        """RETURNS (Dict[str, Any]): The same, for JSON."""
        return asdict(self)


@dataclass
class _Books:
    asked: int = 0
    from_ledger: int = 0
    prompt_tokens: int = 0
    reply_tokens: int = 0
    cost_usd: float = 0.0
    seen: set[str] = field(default_factory=set)

    def enter(self, reply: Reply) -> None:
        meta = reply.meta
        if meta.key is not None:
            if meta.key in self.seen:
                return
            self.seen.add(meta.key)
        if meta.from_ledger:
            self.from_ledger += 1
            return
        self.asked += 1
        self.prompt_tokens += meta.prompt_tokens or 0
        self.reply_tokens += meta.reply_tokens or 0
        self.cost_usd += meta.cost_usd or 0.0


class _Foreign(TeacherModel):
    """A model of spaCy-llm's or the user's: one prompt a call, so that a failure is one text's failure."""

    def __init__(self, call: Callable[..., Iterable[Iterable[str]]], identity: Any, ledger: Path | None) -> None:
        super().__init__(ledger)
        self._call = call
        self._identity = identity

    @property
    def name(self) -> str:
        return str(self._identity.get("@llm_models", type(self._call).__name__))

    @property
    def endpoint(self) -> str:
        return "spacy-llm"

    @property
    def params(self) -> dict[str, Any]:
        return {name: repr(value) for name, value in self._identity.items()}

    def _ask(self, requests: Iterator[Request]) -> Iterator[tuple[Request, Reply]]:
        for request in requests:
            start = time.perf_counter()
            try:
                text = str(next(iter(next(iter(self._call([[request.prompt]]))))))
                meta = ReplyMeta(model=self.name, latency_s=time.perf_counter() - start)
            except TeacherError:
                raise
            except Exception as error:
                text = ""
                meta = ReplyMeta(status="error", error=type(error).__name__, model=self.name)
                logger.warning("%s failed on one prompt: %s", self.name, type(error).__name__)
            yield request, Reply(text, meta)


def load_teacher(config: Path, *, ledger: Path | None = None) -> Language:
    """Load a teacher pipeline from a spaCy config with one or more of spaCy-llm's components.

    config (Path): The file. Paths in it are relative to the working directory.
    ledger (Optional[Path]): Used by every model of ours whose config names no ledger.
    RETURNS (Language): The pipeline.
    RAISES (ConfigError): The config does not load, or has no LLM component.
    """
    try:
        nlp = load_model_from_config(load_config(config), auto_fill=True)
    except Exception as error:
        raise ConfigError(f"{config} does not load as a spaCy config. {str(error).strip()}") from error
    components = [component for _, component in nlp.pipeline if isinstance(component, LLMWrapper)]
    if not components:
        raise ConfigError(
            f"{config} has no LLM component. Its pipeline is {nlp.pipe_names}; add llm_textcat or llm_ner."
        )
    for component in components:
        use_ledger(component, ledger)
    return nlp


def use_ledger(component: LLMWrapper, ledger: Path | None) -> TeacherModel | None:
    """Give a component's model this ledger, unless its config names one.

    RETURNS (Optional[TeacherModel]): The model, if it is one of ours.
    """
    model = component._model
    if not isinstance(model, TeacherModel):
        return None
    if ledger is not None and model.ledger is None:
        model.ledger = Ledger(ledger)
    return model


def annotate(
    nlp: Language,
    texts: Iterable[Text],
    *,
    ledger: Path | None = None,
    progress: Callable[[int], None] | None = None,
) -> tuple[list[Doc], Summary]:
    """Label texts with a teacher pipeline.

    The same as `nlp.pipe`, but streamed: replies are committed to the ledger as they arrive, and a text never waits
    for a batch. What the ledger has is not asked again.

    nlp (Language): A pipeline with spaCy-llm components; other components run too, in their place.
    texts (Iterable[Text]): What to label.
    ledger (Optional[Path]): For models whose config names none.
    progress (Optional[Callable[[int], None]]): Called with 1 for every reply that arrived.
    RETURNS (Tuple[List[Doc], Summary]): The docs in the order of the texts, with all facts, and the books.
    RAISES (TeacherError): The teacher cannot be used at all. Everything that arrived is in the ledger.
    """
    start = time.perf_counter()
    docs = [make_doc(nlp, text) for text in texts]
    books = _Books()
    for name, component in nlp.pipeline:
        if isinstance(component, LLMWrapper):
            docs = _run(nlp, name, component, docs, books, ledger, progress or (lambda _: None))
        else:
            docs = [component(doc) for doc in docs]
    return docs, _summary(docs, books, time.perf_counter() - start)


def _run(
    nlp: Language,
    name: str,
    component: LLMWrapper,
    docs: list[Doc],
    books: _Books,
    ledger: Path | None,
    progress: Callable[[int], None],
) -> list[Doc]:
    model = use_ledger(component, ledger)
    if model is None:
        settings = cast(Any, nlp.config["components"][name].get("model", {}))
        model = _Foreign(component._model, dict(settings), ledger)
    task = component.task
    sharding = supports_sharding(task)
    window = component._model.context_length if isinstance(component._model, ModelWithContextLength) else None
    owners: list[tuple[int, int]] = []
    shards: dict[int, list[Doc]] = {}
    replies: dict[int, list[Reply | None]] = {}
    done: list[Doc | None] = [None] * len(docs)

    def prompts() -> Iterator[str]:
        for index, doc in enumerate(docs):
            (item,) = task.generate_prompts([doc], window) if sharding else task.generate_prompts([doc])
            if sharding:
                asked, parts = list(item[0]), list(item[1])
                shards[index] = parts
            else:
                asked = [item]
            replies[index] = [None] * len(asked)
            for position, prompt in enumerate(asked):
                owners.append((index, position))
                yield prompt

    for number, reply in model.stream(prompts()):
        books.enter(reply)
        index, position = owners[number]
        replies[index][position] = reply
        if all(item is not None for item in replies[index]):
            found = cast("list[Reply]", replies.pop(index))
            done[index] = _parse(component, docs[index], found, shards.pop(index, None))
            progress(1)
    lost = [docs[index]._.distill["id"] for index, doc in enumerate(done) if doc is None]
    if lost:
        raise TeacherError(f"{name}: the model gave no answer, not even a failure, for {len(lost)} texts: {lost[:5]}.")
    return cast("list[Doc]", done)


def _parse(component: LLMWrapper, doc: Doc, replies: list[Reply], shards: list[Doc] | None) -> Doc:
    task = component.task
    if isinstance(task, Task):
        return next(iter(task.parse_responses([doc], [replies])))
    kind = _task_name(task)
    status = "error" if any(reply.meta.status == "error" for reply in replies) else "ok"
    before = dict(doc.cats)
    parsed = doc
    if status == "ok":
        try:
            with warnings.catch_warnings():
                # A task that puts shards together leaves custom data behind, and says so; it is put back below.
                warnings.filterwarnings("ignore", message=r"\[W10[12]\]")
                parsed = next(iter(task.parse_responses([shards] if shards is not None else [doc], [replies])))
        except Exception as error:
            logger.warning("%s could not parse the reply for %s: %s", component._name, doc._.distill["id"], error)
            status = "unparsed"
    if parsed is not doc:
        parsed.user_data = {**doc.user_data, **parsed.user_data}
        parsed._.distill = doc._.distill
        parsed.cats = {**before, **parsed.cats}
    if kind is not None:
        labels = list(component.labels)
        exclusive = bool(getattr(task, "_exclusive_classes", True))
        if kind == "textcat" and status == "ok" and not any(parsed.cats.get(label) for label in labels) and exclusive:
            status = "unparsed"
        facts: dict[str, Any] = {"status": status, "labels": labels, "exclusive": exclusive}
        facts |= {"provenance": {"model": replies[0].meta.model, "key": sha256([r.meta.key for r in replies])}}
        note(parsed, kind, facts if status == "ok" else {**facts, "raw": "\n".join(replies)})
    return parsed


def _task_name(task: Any) -> TaskName | None:
    name = type(task).__name__
    if name.startswith("TextCat"):
        return "textcat"
    return "ner" if name.startswith("NER") else None


def _summary(docs: list[Doc], books: _Books, seconds_s: float) -> Summary:
    statuses: dict[str, Counter[str]] = {}
    labels: dict[str, Counter[str]] = {}
    unaligned = 0
    for doc in docs:
        for annotation in annotations_of(doc):
            statuses.setdefault(annotation.task, Counter())[annotation.status] += 1
            found = labels.setdefault(annotation.task, Counter())
            if annotation.cats is not None:
                found.update(annotation.positive())
            found.update(span.label for span in annotation.ents or ())
        unaligned += len((facts_of(doc, "ner") or {}).get("unaligned", ()))
    return Summary(
        texts=len(docs),
        words=sum(len(doc.text.split()) for doc in docs),
        statuses={task: dict(count.most_common()) for task, count in statuses.items()},
        labels={task: dict(count.most_common()) for task, count in labels.items()},
        asked=books.asked,
        from_ledger=books.from_ledger,
        unaligned=unaligned,
        prompt_tokens=books.prompt_tokens,
        reply_tokens=books.reply_tokens,
        cost_usd=round(books.cost_usd, 6),
        seconds_s=round(seconds_s, 3),
    )
