"""A causal language model as a judge: how likely is each label's wording after a prompt?

How scoring saves work. The prompts' constant prefix is evaluated once and its key-value cache kept. The texts that
follow it are packed into one sequence, without padding, under a mask that lets each see the prefix and itself alone;
labels of several tokens branch off their text as a tree (what two labels share is evaluated once). So one forward
pass gives every label of every text in the pack, as if each had been evaluated alone.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from transformers import DynamicCache

from ..errors import TeacherError
from .packing import Tree, common
from .types import Prompt

_PACK_TOKENS = {"cpu": 512, "cuda": 1024}
_KEPT_PREFIXES = 4
_FULL, _SLIDING = "full_attention", "sliding_attention"  # kinds of layers, as transformers calls them

T = TypeVar("T")


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
class _Query:
    """A tokenized prompt: the tokens before its labels' wordings part, and for each label the tokens after."""

    index: int
    context: list[int]
    endings: dict[str, list[int]]
    unread_chars: int


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
        self._layers = set(getattr(config, "layer_types", None) or [_SLIDING if self._sliding else _FULL])
        if strange := self._layers - {_FULL, _SLIDING}:
            raise TeacherError(
                f"{type(model).__name__} has layers of {', '.join(sorted(strange))}, which cannot share a prefix."
                " Choose another model."
            )
        ends = [model.generation_config.eos_token_id, tokenizer.eos_token_id]
        self.ends = {i for end in ends if end is not None for i in (end if isinstance(end, list) else [end])}
        bos = tokenizer.bos_token_id
        self.lead: list[int] = [bos] if bos is not None and bos in tokenizer("")["input_ids"] else []
        self.start: int = bos if bos is not None else min(self.ends, default=0)
        self._prefixes: dict[str, tuple[list[int], list[tuple[torch.Tensor, torch.Tensor]]]] = {}

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
        def tokenize(shorter: Prompt) -> tuple[tuple[list[int], dict[str, list[int]]], int]:
            context, endings = self._split(shorter)
            return (context, endings), len(context) + max(map(len, endings.values()))

        (context, endings), unread = self.fit(prompt, tokenize, self.window)
        return _Query(index, context, endings, unread)

    def _split(self, prompt: Prompt) -> tuple[list[int], dict[str, list[int]]]:
        """Tokenize a prompt with each of its labels, and cut where they part.

        A label is never tokenized alone: after "Label: " the word "spam" is one token, space included, that reaches
        back into the prompt. Only the prompt's end can change so, hence it is enough to compare tokenized ends.
        """
        context = self.encode(prompt)
        for end in (prompt.text + prompt.suffix, str(prompt)):
            bare = self.encode(end)
            whole = {label: self.encode(end + wording) for label, wording in prompt.choices.items()}
            same = min(common(bare, tokens) for tokens in whole.values())
            if same and context[len(context) - len(bare) + same :] == bare[same:]:
                context = context[: len(context) - len(bare) + same]
                break
        else:  # the very first token depends on the label
            context = []
        return (self.lead + context) or [self.start], {label: tokens[same:] for label, tokens in whole.items()}

    def _shared(self, prefix: str, query: _Query) -> int:
        """RETURNS (int): How many tokens of the query the prefix's cache holds; the last one is never taken from it."""
        return min(common(self._prefix(prefix)[0], query.context), len(query.context) - 1)

    def _prefix(self, prefix: str) -> tuple[list[int], list[tuple[torch.Tensor, torch.Tensor]]]:
        """RETURNS (Tuple[List[int], List[Tuple[Tensor, Tensor]]]): Its tokens; each layer's keys and values."""
        if prefix not in self._prefixes:
            tokens = (self.lead + self.encode(prefix))[: self.window]
            layers = []
            if tokens:
                cache = DynamicCache()
                with torch.inference_mode():
                    self.model(self.tensor([tokens]), past_key_values=cache, use_cache=True, logits_to_keep=1)
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
        tree = Tree(cached)
        asked: list[tuple[int, str, int, int]] = []  # query, label, the token's row that foretells, token foretold
        for query in pack:
            last = tree.text(query.context[cached:])
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
        at = self.tensor([where[row] for _, _, row, _ in asked])
        values = (logits[at, self.tensor([token for *_, token in asked])] - normaliser[at]).tolist()
        found = {query.index: dict.fromkeys(query.endings, 0.0) for query in pack}
        for (index, label, _, _), value in zip(asked, values, strict=True):
            found[index][label] += value
        return {query.index: Scored(found[query.index], len(query.context), query.unread_chars) for query in pack}

    def _forward(self, tree: Tree, prefix: str, rows: list[int]) -> torch.Tensor:
        """RETURNS (Tensor): Logits after the tree's tokens `rows`. `(len(rows), vocabulary)`."""
        cache = None
        if tree.cached:
            cache = DynamicCache()
            for number, (keys, values) in enumerate(self._prefix(prefix)[1]):
                cache.update(keys[:, :, : tree.cached], values[:, :, : tree.cached], number)
        with torch.inference_mode():
            output = self.model(
                self.tensor([tree.tokens]),
                attention_mask=self._masks(tree),
                position_ids=self.tensor([tree.positions]),
                past_key_values=cache,
                use_cache=cache is not None,
                logits_to_keep=self.tensor(rows),
            )
            logits: torch.Tensor = output.logits[0].float()
        return logits

    def _masks(self, tree: Tree) -> Any:
        """RETURNS (Union[Tensor, Dict[str, Tensor]]): What transformers adds to the attention, `(1, 1, tokens, cached +
        tokens)`; by kind of layer for models that have several kinds."""
        masks = {kind: self._mask(tree.sees(None if kind == _FULL else self._sliding)) for kind in self._layers}
        return masks if len(masks) > 1 else next(iter(masks.values()))

    def _mask(self, sees: NDArray[np.bool_]) -> torch.Tensor:
        allowed = torch.from_numpy(sees).to(self.model.device)
        hidden = torch.finfo(self.model.dtype).min
        mask = torch.zeros(allowed.shape, dtype=self.model.dtype, device=self.model.device)
        return mask.masked_fill_(~allowed, hidden)[None, None]

    def fit(self, prompt: Prompt, tokenize: Callable[[Prompt], tuple[T, int]], room: int) -> tuple[T, int]:
        """Tokenize a prompt, and cut the middle out of its text if it is too long: a text's beginning and end say
        most, and where a prompt's parts are unknown the instruction stands at one of them.

        tokenize (Callable[[Prompt], Tuple[T, int]]): Gives the tokens, in any form, and how many they are.
        room (int): How many there may be.
        RETURNS (Tuple[T, int]): The tokens, and how many characters of the text were left out.
        RAISES (TeacherError): The prompt is too long even without its text.
        """
        tokens, length = tokenize(prompt)
        if length <= room:
            return tokens, 0
        _, frame = tokenize(prompt.with_text(""))
        if frame > room:
            raise TeacherError(
                f"The prompt takes {frame} tokens without its text, and the model's window has room for {room}."
                " Use fewer or shorter examples, or a lower max_tokens."
            )
        text, keep = prompt.text, len(prompt.text)
        while length > room:
            keep = min(keep - 1, int(keep * (room - frame) / (length - frame))) if keep > 1 else 0
            tokens, length = tokenize(prompt.with_text(text[: (keep + 1) // 2] + text[len(text) - keep // 2 :]))
        return tokens, len(text) - keep

    def encode(self, text: str) -> list[int]:
        """RETURNS (List[int]): Tokens, without any the tokenizer would add."""
        valid = text.encode("utf8", "replace").decode("utf8")  # a lone surrogate would be refused
        tokens: list[int] = self.tokenizer(valid, add_special_tokens=False, verbose=False)["input_ids"]
        return tokens

    def tensor(self, values: Any) -> torch.Tensor:
        """RETURNS (Tensor): Integers, on the model's device."""
        return torch.tensor(values, dtype=torch.long, device=self.model.device)
