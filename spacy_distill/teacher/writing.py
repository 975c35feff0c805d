"""A causal language model as an author: greedy text, for prompts whose answer is open."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from .scoring import CausalModel
from .types import Prompt

_TOGETHER = 8


@dataclass(frozen=True, slots=True)
class Written:
    """What the model wrote.

    text (str): Its words, without special tokens.
    tokens (Tuple[Tuple[str, float], ...]): Each token with its log-probability.
    finished (bool): The model came to an end by itself.
    prompt_tokens (int): Tokens of the prompt.
    unread_chars (int): Characters of the text left out, from its middle, because the model's window is full.
    """

    text: str
    tokens: tuple[tuple[str, float], ...]
    finished: bool
    prompt_tokens: int
    unread_chars: int


def write(model: CausalModel, prompts: Sequence[Prompt], max_tokens: int) -> list[Written]:
    """Write greedily. Uses the model's chat template if it has one: instruction-tuned models expect it.

    model (CausalModel): Who writes.
    prompts (Sequence[Prompt]): Any prompts.
    max_tokens (int): Where to stop at the latest.
    RETURNS (List[Written]): One a prompt, in order.
    RAISES (TeacherError): A prompt and `max_tokens` do not fit the model's window even without the text.
    """
    inputs = []
    for prompt in prompts:
        inputs.append(model.fit(prompt, lambda shorter: _tokenize(model, shorter), model.window - max_tokens))
    order = sorted(range(len(inputs)), key=lambda index: len(inputs[index][0]))
    found: dict[int, Written] = {}
    for first in range(0, len(order), _TOGETHER):
        batch = order[first : first + _TOGETHER]
        replies = _greedy(model, [inputs[index][0] for index in batch], max_tokens)
        for index, (tokens, finished) in zip(batch, replies, strict=True):
            text = model.tokenizer.decode([token for token, _ in tokens], skip_special_tokens=True)
            named = tuple((model.tokenizer.decode([token]), value) for token, value in tokens)
            found[index] = Written(text, named, finished, len(inputs[index][0]), inputs[index][1])
    return [found[index] for index in range(len(prompts))]


def _tokenize(model: CausalModel, prompt: Prompt) -> tuple[list[int], int]:
    """RETURNS (Tuple[List[int], int]): What the model is to read, and how many tokens that is."""
    if model.tokenizer.chat_template:
        message = [{"role": "user", "content": str(prompt)}]
        tokens = model.encode(model.tokenizer.apply_chat_template(message, tokenize=False, add_generation_prompt=True))
    else:
        tokens = (model.lead + model.encode(prompt)) or [model.start]
    return tokens, len(tokens)


def _greedy(model: CausalModel, inputs: list[list[int]], max_tokens: int) -> list[tuple[list[tuple[int, float]], bool]]:
    """RETURNS (List[Tuple[List[Tuple[int, float]], bool]]): For each input its new tokens, with log-probabilities, and
    whether it came to an end."""
    width = max(map(len, inputs))
    tokens = model.tensor([[model.start] * (width - len(row)) + row for row in inputs])
    mask = model.tensor([[0] * (width - len(row)) + [1] * len(row) for row in inputs])
    positions = (mask.cumsum(dim=-1) - 1).clamp(min=0)
    written: list[list[tuple[int, float]]] = [[] for _ in inputs]
    finished = [False] * len(inputs)
    cache: Any = None
    for _ in range(max_tokens):
        with torch.inference_mode():
            output = model.model(
                tokens,
                attention_mask=mask,
                position_ids=positions,
                past_key_values=cache,
                use_cache=True,
                logits_to_keep=1,
            )
            values, tokens = output.logits[:, -1:].float().log_softmax(dim=-1).max(dim=-1)
        cache = output.past_key_values
        for index, (token, value) in enumerate(zip(tokens[:, 0].tolist(), values[:, 0].tolist(), strict=True)):
            finished[index] = finished[index] or token in model.ends
            if not finished[index]:
                written[index].append((token, value))
        if all(finished):
            break
        mask = torch.cat([mask, mask.new_ones(len(inputs), 1)], dim=-1)
        positions = positions[:, -1:] + 1
    return list(zip(written, finished, strict=True))
