"""A causal language model as a judge: how likely is each label's wording after a prompt? And, where need be, its words.

How scoring saves work. The prompts' constant prefix is evaluated once and its key-value cache kept. The texts that
follow it are packed into one sequence, without padding, under a mask that lets each see the prefix and itself alone;
labels of several tokens branch off their text as a tree (what two labels share is evaluated once). So one forward
pass gives every label of every text in the pack, as if each had been evaluated alone.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache

from ..errors import TeacherError
from .types import Prompt

logger = logging.getLogger("spacy_distill")

_PACK_TOKENS = {"cpu": 256, "cuda": 1024}
_KEPT_PREFIXES = 4
_GENERATED_TOGETHER = 8


@dataclass(frozen=True, slots=True)
class Scored:
    """What the model makes of one prompt's labels.

    logprobs (Dict[str, float]): Label to the log-probability of its continuation, in nats, summed over its tokens.
    prompt_tokens (int): Tokens of the prompt.
    unread_chars (int): Characters of the text left out, from its middle, because the model's window is full.
    """

    logprobs: dict[str, float]
    prompt_tokens: int
    unread_chars: int


@dataclass(frozen=True, slots=True)
class Generated:
    """What the model wrote.

    text (str): Its words, without special tokens.
    tokens (Tuple[Tuple[str, float], ...]): Each token with its log-probability.
    finished (bool): The model came to an end by itself.
    prompt_tokens (int): Tokens of the prompt.
    unread_chars (int): See `Scored`.
    """

    text: str
    tokens: tuple[tuple[str, float], ...]
    finished: bool
    prompt_tokens: int
    unread_chars: int


@dataclass(frozen=True, slots=True)
class _Query:
    """A tokenized prompt: the tokens before its labels' wordings part, and for each label the tokens after."""

    index: int
    context: list[int]
    endings: dict[str, list[int]]
    unread_chars: int

    @property
    def tokens(self) -> int:
        """RETURNS (int): Tokens from the beginning to the end of the longest label."""
        return len(self.context) + max(map(len, self.endings.values()))


class CausalModel:
    """A loaded causal language model with attention and position ids (Llama, Qwen, Gemma, Mistral, GPT-2 …).

    tokenizer (PreTrainedTokenizer): Its tokenizer.
    model (PreTrainedModel): The model, in evaluation mode, on its device.
    """

    def __init__(self, tokenizer: Any, model: Any) -> None:
        self.tokenizer = tokenizer
        self.model = model
        accepted = inspect.signature(model.forward).parameters
        for needed in ("position_ids", "past_key_values", "logits_to_keep"):
            if needed not in accepted:
                raise TeacherError(
                    f"{type(model).__name__} takes no {needed}, so its labels cannot be scored. Choose another model."
                )
        config = model.config.get_text_config()
        self.window: int = getattr(config, "max_position_embeddings", None) or 2**31
        self._sliding: int | None = getattr(config, "sliding_window", None)
        self._layer_kinds: set[str] = set(getattr(config, "layer_types", None) or ())
        ends = [model.generation_config.eos_token_id, tokenizer.eos_token_id]
        self._ends = {i for end in ends if end is not None for i in (end if isinstance(end, list) else [end])}
        bos = tokenizer.bos_token_id
        self._lead: list[int] = [bos] if bos is not None and bos in tokenizer("")["input_ids"] else []
        self._start: int = bos if bos is not None else min(self._ends, default=0)
        self._prefixes: dict[str, tuple[list[int], list[tuple[torch.Tensor, torch.Tensor]]]] = {}

    # Scoring

    @torch.inference_mode()
    def score(self, prompts: Sequence[Prompt]) -> list[Scored]:
        """Score each prompt's choices. Prompts with the same prefix share its cache.

        prompts (Sequence[Prompt]): Prompts with `choices`.
        RETURNS (List[Scored]): One a prompt, in order.
        RAISES (TeacherError): A prompt does not fit the model's window even without its text.
        """
        found: dict[int, Scored] = {}
        by_prefix: dict[str, list[_Query]] = {}
        for index, prompt in enumerate(prompts):
            by_prefix.setdefault(prompt.prefix, []).append(self._query(index, prompt))
        for prefix, queries in by_prefix.items():
            shared = {query.index: self._shared(prefix, query) for query in queries}
            queries.sort(key=lambda query: shared[query.index])
            for cached, group in groupby(queries, key=lambda query: shared[query.index]):
                for pack in self._packs(list(group), cached):
                    found.update(self._score_pack(prefix, cached, pack))
        return [found[index] for index in range(len(prompts))]

    def _query(self, index: int, prompt: Prompt) -> _Query:
        def query(shorter: Prompt, unread: int = 0) -> _Query:
            return _Query(index, *self._split(shorter), unread)

        fitted, unread = self._fit(prompt, lambda shorter: query(shorter).tokens, self.window)
        return query(fitted, unread)

    def _split(self, prompt: Prompt) -> tuple[list[int], dict[str, list[int]]]:
        """Tokenize a prompt with each of its labels, and cut where they part.

        A label is never tokenized alone: after "Label: " the word "spam" is one token, space included, that reaches
        back into the prompt. Only the prompt's end can change so, hence it is enough to compare tokenized ends.
        """
        context = self._encode(prompt)
        for end in (prompt.text + prompt.suffix, str(prompt)):
            bare = self._encode(end)
            whole = {label: self._encode(end + wording) for label, wording in prompt.choices.items()}
            same = min(_common(bare, tokens) for tokens in whole.values())
            if same and context[len(context) - len(bare) + same :] == bare[same:]:
                context = context[: len(context) - len(bare) + same]
                break
        else:  # the very first token depends on the label
            context = []
        return (self._lead + context) or [self._start], {label: tokens[same:] for label, tokens in whole.items()}

    def _shared(self, prefix: str, query: _Query) -> int:
        """RETURNS (int): How many tokens of the query the prefix's cache holds; the last one is never taken from it."""
        return min(_common(self._prefix(prefix)[0], query.context), len(query.context) - 1)

    def _prefix(self, prefix: str) -> tuple[list[int], list[tuple[torch.Tensor, torch.Tensor]]]:
        """RETURNS (Tuple[List[int], List[Tuple[Tensor, Tensor]]]): The prefix's tokens; each layer's keys and values."""
        if prefix not in self._prefixes:
            tokens = (self._lead + self._encode(prefix))[: self.window]
            layers = []
            if tokens:
                cache = DynamicCache()
                self.model(self._tensor([tokens]), past_key_values=cache, use_cache=True, logits_to_keep=1)
                layers = [(layer.keys, layer.values) for layer in cache.layers]
            if len(self._prefixes) == _KEPT_PREFIXES:
                self._prefixes.pop(next(iter(self._prefixes)))
            self._prefixes[prefix] = (tokens, layers)
        return self._prefixes[prefix]

    def _packs(self, queries: list[_Query], cached: int) -> Iterator[list[_Query]]:
        budget = _PACK_TOKENS.get(self.model.device.type, _PACK_TOKENS["cpu"])
        pack: list[_Query] = []
        size = 0
        for query in queries:
            branches = sum(len(tokens) - 1 for tokens in query.endings.values())
            needed = len(query.context) - cached + branches
            if pack and size + needed > budget:
                yield pack
                pack, size = [], 0
            pack.append(query)
            size += needed
        if pack:
            yield pack

    def _score_pack(self, prefix: str, cached: int, pack: list[_Query]) -> dict[int, Scored]:
        tree = _Tree(cached)
        asked: list[tuple[int, str, int, int]] = []  # query, label, the token's row that foretells, token foretold
        for query in pack:
            last = tree.chain(query.context[cached:])
            for label, tokens in query.endings.items():
                row = last
                for position, token in enumerate(tokens):
                    asked.append((query.index, label, row, token))
                    if position < len(tokens) - 1:
                        row = tree.child(row, token)
        rows = sorted({row for _, _, row, _ in asked})
        where = {row: i for i, row in enumerate(rows)}
        logits = self._forward(tree, prefix, rows)
        normaliser = logits.logsumexp(dim=-1)
        at = self._tensor([where[row] for _, _, row, _ in asked])
        values = (logits[at, self._tensor([token for *_, token in asked])] - normaliser[at]).tolist()
        found = {query.index: dict.fromkeys(query.endings, 0.0) for query in pack}
        for (index, label, _, _), value in zip(asked, values, strict=True):
            found[index][label] += value
        return {query.index: Scored(found[query.index], len(query.context), query.unread_chars) for query in pack}

    def _forward(self, tree: _Tree, prefix: str, rows: list[int]) -> torch.Tensor:
        """RETURNS (Tensor): Logits after the tree's tokens `rows`. `(len(rows), vocabulary)`."""
        cache = None
        if tree.cached:
            cache = DynamicCache()
            for number, (keys, values) in enumerate(self._prefix(prefix)[1]):
                cache.update(keys[:, :, : tree.cached], values[:, :, : tree.cached], number)
        sees, distance = tree.sees()
        masks = {"full_attention": self._mask(sees)}
        if self._sliding is not None:
            masks["sliding_attention"] = self._mask(sees & (distance < self._sliding))
        if len(self._layer_kinds) > 1:
            mask: Any = masks
        else:
            kind = next(iter(self._layer_kinds), "sliding_attention" if self._sliding else "full_attention")
            mask = masks[kind]
        output = self.model(
            self._tensor([tree.tokens]),
            attention_mask=mask,
            position_ids=self._tensor([tree.positions]),
            past_key_values=cache,
            use_cache=cache is not None,
            logits_to_keep=self._tensor(rows),
        )
        logits: torch.Tensor = output.logits[0].float()
        return logits

    def _mask(self, sees: NDArray[np.bool_]) -> torch.Tensor:
        allowed = torch.from_numpy(sees).to(self.model.device)
        hidden = torch.finfo(self.model.dtype).min
        mask = torch.zeros(allowed.shape, dtype=self.model.dtype, device=self.model.device)
        return mask.masked_fill_(~allowed, hidden)[None, None]

    # Generation

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Prompt], max_tokens: int) -> list[Generated]:
        """Write greedily. Uses the model's chat template if it has one: instruction-tuned models expect it.

        prompts (Sequence[Prompt]): Any prompts.
        max_tokens (int): Where to stop at the latest.
        RETURNS (List[Generated]): One a prompt, in order.
        RAISES (TeacherError): A prompt and `max_tokens` do not fit the model's window even without the text.
        """
        inputs = []
        for prompt in prompts:
            fitted, unread = self._fit(prompt, lambda shorter: len(self._chat(shorter)), self.window - max_tokens)
            inputs.append((self._chat(fitted), unread))
        order = sorted(range(len(inputs)), key=lambda i: len(inputs[i][0]))
        found: dict[int, Generated] = {}
        for first in range(0, len(order), _GENERATED_TOGETHER):
            batch = order[first : first + _GENERATED_TOGETHER]
            written = self._greedy([inputs[i][0] for i in batch], max_tokens)
            for i, (tokens, finished) in zip(batch, written, strict=True):
                text = self.tokenizer.decode([token for token, _ in tokens], skip_special_tokens=True)
                named = tuple((self.tokenizer.decode([token]), value) for token, value in tokens)
                found[i] = Generated(text, named, finished, len(inputs[i][0]), inputs[i][1])
        return [found[i] for i in range(len(prompts))]

    def _chat(self, prompt: Prompt) -> list[int]:
        if not self.tokenizer.chat_template:
            return (self._lead + self._encode(prompt)) or [self._start]
        message = [{"role": "user", "content": str(prompt)}]
        return self._encode(self.tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True))

    def _greedy(self, inputs: list[list[int]], max_tokens: int) -> list[tuple[list[tuple[int, float]], bool]]:
        """RETURNS (List[Tuple[List[Tuple[int, float]], bool]]): For each input its new tokens, with log-probabilities,
        and whether it came to an end."""
        width = max(map(len, inputs))
        tokens = self._tensor([[self._start] * (width - len(row)) + row for row in inputs])
        mask = self._tensor([[0] * (width - len(row)) + [1] * len(row) for row in inputs])
        positions = (mask.cumsum(dim=-1) - 1).clamp(min=0)
        written: list[list[tuple[int, float]]] = [[] for _ in inputs]
        finished = [False] * len(inputs)
        cache: Any = None
        for _ in range(max_tokens):
            output = self.model(
                tokens,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            cache = output.past_key_values
            values, tokens = output.logits[:, -1:].float().log_softmax(dim=-1).max(dim=-1)
            for i, (token, value) in enumerate(zip(tokens[:, 0].tolist(), values[:, 0].tolist(), strict=True)):
                finished[i] = finished[i] or token in self._ends
                if not finished[i]:
                    written[i].append((token, value))
            if all(finished):
                break
            mask = torch.cat([mask, mask.new_ones(len(inputs), 1)], dim=-1)
            positions = positions[:, -1:] + 1
        return list(zip(written, finished, strict=True))

    # Both

    def _fit(self, prompt: Prompt, measure: Callable[[Prompt], int], room: int) -> tuple[Prompt, int]:
        """Cut the middle out of a text that is too long: a text's beginning and end say most, and where a prompt's
        parts are unknown the instruction stands at one of them.

        RETURNS (Tuple[Prompt, int]): A prompt that fits, and how many characters were left out.
        """
        length = measure(prompt)
        if length <= room:
            return prompt, 0
        frame = measure(prompt.with_text(""))
        if frame > room:
            raise TeacherError(
                f"The prompt takes {frame} tokens without its text, and the model's window has room for {room}."
                " Use fewer or shorter examples, or a lower max_tokens."
            )
        keep = len(prompt.text)
        shorter = prompt
        while length > room:
            keep = min(keep - 1, int(keep * (room - frame) / (length - frame))) if keep > 1 else 0
            shorter = prompt.with_text(prompt.text[: (keep + 1) // 2] + prompt.text[len(prompt.text) - keep // 2 :])
            length = measure(shorter)
        return shorter, len(prompt.text) - keep

    def _encode(self, text: str) -> list[int]:
        tokens: list[int] = self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]
        return tokens

    def _tensor(self, values: Any) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.long, device=self.model.device)


class _Tree:
    """Tokens to evaluate in one pass. Each sees the cached prefix, its ancestors and itself.

    cached (int): Tokens in the cache, before the tree.
    """

    def __init__(self, cached: int) -> None:
        self.cached = cached
        self.tokens: list[int] = []
        self.positions: list[int] = []
        self.parents: list[int] = []
        self._children: dict[tuple[int, int], int] = {}

    def chain(self, tokens: list[int]) -> int:
        """Start a new text. RETURNS (int): The row of its last token."""
        row = -1
        for token in tokens:
            row = self._add(row, token)
        return row

    def child(self, parent: int, token: int) -> int:
        """RETURNS (int): The row of `token` after `parent`; the same for all who ask for it."""
        if (parent, token) not in self._children:
            self._children[parent, token] = self._add(parent, token)
        return self._children[parent, token]

    def _add(self, parent: int, token: int) -> int:
        self.tokens.append(token)
        self.parents.append(parent)
        self.positions.append(self.positions[parent] + 1 if parent >= 0 else self.cached)
        return len(self.tokens) - 1

    def sees(self) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
        """RETURNS (Tuple[NDArray, NDArray]): Whether a token sees a cached or a tree's token, and how many positions
        lie between. Both `(tokens, cached + tokens)`."""
        size = len(self.tokens)
        sees = np.zeros((size, self.cached + size), dtype=np.bool_)
        sees[:, : self.cached] = True
        for row, parent in enumerate(self.parents):
            if parent >= 0:
                sees[row] = sees[parent]
            sees[row, self.cached + row] = True
        own = np.array(self.positions)
        return sees, own[:, None] - np.concatenate([np.arange(self.cached), own])[None]


def _common(first: list[int], second: list[int]) -> int:
    """RETURNS (int): How many tokens two sequences have in common from the start."""
    for i, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return i
    return min(len(first), len(second))
