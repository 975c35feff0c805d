"""Texts and a teacher pipeline in, annotated docs out: every reply through the ledger, no barrier between batches."""

from __future__ import annotations

import time
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

from .docs import annotations_of, facts_of, make_doc
from .errors import ConfigError, TeacherError
from .tasks.base import Task
from .tasks.foreign import parse_foreign
from .teacher.base import TeacherModel
from .teacher.foreign import Foreign
from .teacher.ledger import Ledger
from .teacher.types import Reply
from .types import Text


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
    elapsed_s (float): Wall time.
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
    elapsed_s: float

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
    if ledger is not None and model.ledger is None and model.costs:
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
        model = Foreign(component._model, settings, ledger)
    task = component.task
    sharding = supports_sharding(task)
    wrapped = component._model
    window = wrapped.context_length if isinstance(wrapped, ModelWithContextLength) else None
    owners: list[tuple[int, int]] = []
    shards: dict[int, list[Doc]] = {}
    replies: dict[int, list[Reply | None]] = {}
    done: list[Doc | None] = [None] * len(docs)

    def prompts() -> Iterator[str]:
        for index, doc in enumerate(docs):
            if sharding:
                ((rendered, parts),) = task.generate_prompts([doc], window)
                asked, shards[index] = list(rendered), list(parts)
            else:
                asked = list(task.generate_prompts([doc]))
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
    if isinstance(component.task, Task):
        return next(iter(component.task.parse_responses([[doc]], [replies])))
    return parse_foreign(component.task, component.labels, doc, replies, shards)


def _summary(docs: list[Doc], books: _Books, elapsed_s: float) -> Summary:
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
        elapsed_s=round(elapsed_s, 3),
    )
