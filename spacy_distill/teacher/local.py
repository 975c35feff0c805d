"""`spacy_distill.Local.v1`: a causal language model inside this process, offline, on the CPU or a GPU."""

import logging
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any, Dict, Literal, Optional

import numpy as np

from ..errors import BudgetError, ConfigError, TeacherError
from .base import Request, TeacherModel
from .calibration import Floats, content_free_bias, probabilities
from .types import Prompt, Reply, ReplyMeta
from .weights import Device, identity, load

logger = logging.getLogger("spacy_distill")

Calibration = Literal["content_free", "fixed", "none"]

CONTENT_FREE = ("N/A", "[MASK]", "")
"""Texts that say nothing, from Zhao et al. 2021."""


class Local(TeacherModel):
    """A causal language model run through transformers.

    A prompt with choices is answered by scoring each choice's wording: a probability a label, several times faster
    than writing, and useful from models too small to write. The ledger keeps the raw log-probabilities; calibration
    is worked out from them afterwards, so changing it costs nothing. A prompt without choices is answered in words.

    name (str): A folder, a GGUF file, or a hub name. Paths are relative to the working directory and never opened
        online.
    calibration (Calibration): "content_free" takes off each label what the model gives it for texts that say nothing
        (three more prompts for each constant part, kept in the ledger like all others). "fixed" takes off `bias`.
        "none" takes off nothing. None of them wins everywhere: `spacy-distill choose` finds out.
    bias (Optional[Dict[str, float]]): Label to what is taken off its log-probability. With "fixed", and only then.
    temperature (float): What log-probabilities are divided by after that. Changes confidence, never a label.
    batch_size (int): Prompts taken at a time; a killed run loses so many replies at most.
    max_tokens (int): Where a reply in words is cut off.
    device (Device): "cpu", "cuda", or "auto" for a GPU if there is one.
    threads (Optional[int]): CPU threads, for the whole process. For small models 1 is often fastest.
    ledger (Optional[Path]): See `TeacherModel`.
    RAISES (ConfigError): Settings that contradict each other.
    """

    def __init__(
        self,
        name: str,
        *,
        calibration: Calibration = "content_free",
        bias: Optional[Dict[str, float]] = None,
        temperature: float = 1.0,
        batch_size: int = 16,
        max_tokens: int = 256,
        device: Device = "auto",
        threads: Optional[int] = None,
        ledger: Optional[Path] = None,
    ) -> None:
        super().__init__(ledger)
        if (calibration == "fixed") != (bias is not None):
            raise ConfigError(
                f'calibration = "{calibration}" with{"" if bias is not None else "out"} a bias: "fixed" needs a bias,'
                " and the others take none."
            )
        if temperature <= 0:
            raise ConfigError(f"temperature = {temperature}: must be above 0.")
        for setting, value in (("batch_size", batch_size), ("max_tokens", max_tokens)):
            if value < 1:
                raise ConfigError(f"{setting} = {value}: must be at least 1.")
        self.source = name
        self.calibration = calibration
        self.bias = bias
        self.temperature = temperature
        self.batch_size = batch_size
        self.max_tokens = max_tokens
        self.device = device
        self.threads = threads
        self._model: Any = None
        self._identity: Optional[str] = None
        self._frames: Dict[Any, Floats] = {}

    @property
    def name(self) -> str:
        """The file's, the folder's or the hub's name, the same wherever it lies."""
        path = Path(self.source).expanduser()
        return path.resolve().name if path.exists() else self.source

    @property
    def endpoint(self) -> str:
        """What the weights are known by: see `weights.identity`."""
        if self._identity is None:
            self._identity = identity(self.source)
        return self._identity

    @property
    def params(self) -> Dict[str, Any]:
        """Nothing but `max_tokens` could change a raw reply."""
        return {"max_tokens": self.max_tokens}

    @property
    def always_the_same(self) -> Optional[str]:
        return (
            'This model scores or writes without chance: use confidence = "logprob", which it gives for every answer.'
        )

    def _ask(self, requests: Iterator[Request]) -> Iterator[tuple[Request, Reply]]:
        model = self._loaded()
        while batch := list(islice(requests, self.batch_size)):
            started = time.perf_counter()
            scored = [request for request in batch if request.prompt.choices]
            written = [request for request in batch if not request.prompt.choices]
            replies = [
                *zip(scored, self._score(model, [request.prompt for request in scored]), strict=True),
                *zip(written, self._write(model, [request.prompt for request in written]), strict=True),
            ]
            each_s = (time.perf_counter() - started) / len(batch)
            for request, reply in replies:
                yield request, Reply(str(reply), replace(reply.meta, model=self.name, latency_s=each_s))

    def _loaded(self) -> Any:
        if self._model is None:
            tokenizer, model = load(self.source, self.device, self.threads)
            from .scoring import CausalModel

            self._model = CausalModel(tokenizer, model)
        return self._model

    def _score(self, model: Any, prompts: Sequence[Prompt]) -> Iterator[Reply]:
        for prompt, scored in zip(prompts, model.score(prompts), strict=True):
            best = max(scored.logprobs, key=scored.logprobs.__getitem__)
            meta = ReplyMeta(
                choices=scored.logprobs, prompt_tokens=scored.prompt_tokens, unread_chars=scored.unread_chars or None
            )
            yield Reply(prompt.choices[best].strip(), meta)

    def _write(self, model: Any, prompts: Sequence[Prompt]) -> Iterator[Reply]:
        from .writing import write

        for written in write(model, prompts, self.max_tokens):
            meta = ReplyMeta(
                status="ok" if written.finished else "truncated",
                tokens=written.tokens,
                prompt_tokens=written.prompt_tokens,
                reply_tokens=len(written.tokens),
                unread_chars=written.unread_chars or None,
            )
            yield Reply(written.text, meta)

    def _finish(self, prompt: Prompt, reply: Reply) -> Reply:
        """Turn raw log-probabilities into calibrated scores; the reply becomes the wording of the winning label."""
        if reply.meta.choices is None:
            return reply
        labels = list(prompt.choices)
        raw = [reply.meta.choices[label] for label in labels]
        likely = probabilities([raw], self._bias(prompt), self.temperature)[0]
        best = int(likely.argmax())
        meta = replace(
            reply.meta,
            scores={label: float(score) for label, score in zip(labels, likely, strict=True)},
            confidence=float(likely[best]),
            confidence_kind="logprob",
        )
        return Reply(prompt.choices[labels[best]].strip(), meta)

    def _bias(self, prompt: Prompt) -> Optional[Floats]:
        """RETURNS (Optional[NDArray]): What to take off each of the prompt's choices, in their order. `(K,)`."""
        labels = list(prompt.choices)
        if self.bias is not None:
            if missing := [label for label in labels if label not in self.bias]:
                raise ConfigError(f"The bias has no value for {', '.join(map(repr, missing))}. Run `choose` again.")
            return np.array([self.bias[label] for label in labels])
        if self.calibration == "none":
            return None
        frame = (prompt.prefix, prompt.suffix, *prompt.choices.items())
        if frame not in self._frames:
            self._frames[frame] = content_free_bias(self.content_free(prompt))
        return self._frames[frame]

    def content_free(self, prompt: Prompt) -> Floats:
        """Ask what the model makes of no content, through the ledger like any prompt.

        prompt (Prompt): Its constant parts and choices are used, its text is not.
        RETURNS (NDArray): Raw log-probabilities of its choices for each of `CONTENT_FREE`. `(3, K)`.
        """
        found: Dict[int, list[float]] = {}
        for index, _, reply in self._stream_raw([prompt.with_text(text) for text in CONTENT_FREE]):
            if reply.meta.status == "error":
                raise BudgetError(f"{self.name}: {reply.meta.error} before its calibration; raise the budget.")
            if reply.meta.choices is None:
                raise TeacherError(f"{self.name} did not score a content-free prompt.")
            found[index] = [reply.meta.choices[label] for label in prompt.choices]
        return np.array([found[index] for index in range(len(CONTENT_FREE))])


make_local = Local
"""`spacy_distill.Local.v1`: spaCy-llm reads the settings off the constructor."""
