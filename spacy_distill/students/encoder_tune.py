"""Tuning an encoder: its last layers learn the classes together with a linear classifier on top. This needs torch; what
comes of it is an encoder like the one it was, which does not.

The layers below stay as they are, so what they make of the texts is computed once. With a learning rate ten times that
of the usual fine-tuning, a few passes are enough.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from .encoder_fit import NO_SPREAD
from .runtime.frozen_encoder import EPSILON, Encoder

Floats = NDArray[np.float64]

BATCH = 16
MIN_STEPS, MAX_STEPS = 200, 1000
"""Batches, however few texts there are; and however many, if each is learned once."""
LEARN_RATE = 2e-4
DROPOUT = 0.1
HEAD_RATE = 1e-2
"""The classifier's learning rate: it starts from nothing."""
HEAD_SCALE = 3.0
"""Pooled means and maxima each have this root mean square length for the classifier."""
WARM_UP = 0.1
WEIGHT_DECAY = 0.01
_CHUNK = 8  # batches of texts of about one length


@dataclass(frozen=True, slots=True)
class Tuning:
    """How an encoder is tuned.

    layers (int): How many of its last layers learn.
    epochs (int): How often they learn each text, within `MIN_STEPS` and `MAX_STEPS`; once at least.
    seed (int): Of the order of the texts and of dropout.
    """

    layers: int
    epochs: int
    seed: int


@dataclass(frozen=True, slots=True)
class Tuned:
    """What was learned.

    encoder (Encoder): The encoder with other last layers.
    dense (NDArray[float]): The classifier's weights for what the encoder says of a text, `(2 H, K)`, or of a word,
        `(H, K)`.
    bias (NDArray[float]): `(K,)`.
    """

    encoder: Encoder
    dense: Floats
    bias: Floats


def tune(
    encoder: Encoder,
    ids: Sequence[Sequence[int]],
    targets: Floats,
    weights: Floats,
    tuning: Tuning,
    *,
    exclusive: bool,
    words: Sequence[Sequence[int]] | None = None,
) -> Tuned:
    """Tune the last layers. The hidden vectors of all texts are kept in memory, 768 bytes a word piece for MiniLM.

    ids (Sequence[Sequence[int]]): The word pieces of each text.
    targets (NDArray[float]): `(N, K)`, 0 to 1. NaN: unknown; not for exclusive classes.
    weights (NDArray[float]): What each text or word, or each target, counts: `(N, 1)` or `(N, K)`.
    words (Optional[Sequence[Sequence[int]]]): None: N texts have targets. Else N words have, one text's after the
        other's: where each begins in its text's `ids`.
    RETURNS (Tuned): The tuned encoder, packed as it will be saved, and the classifier.
    """
    from rich.progress import track

    random = torch.Generator().manual_seed(tuning.seed)
    network = _Network(_unpacked(encoder.arrays), encoder.heads, random)
    names = sorted({int(name.split(".")[2]) for name in network.weights if name.startswith("encoder.layer.")})
    lower, upper = names[: -tuning.layers], names[-tuning.layers :]
    tuned = {
        name: weight.requires_grad_()
        for name, weight in network.weights.items()
        if name.startswith("encoder.layer.") and int(name.split(".")[2]) in upper
    }
    units = _Units(len(ids), words)
    order = sorted(range(len(ids)), key=lambda i: len(ids[i]))
    hidden: list[Any] = [None] * len(ids)
    told: list[Any] = []
    numbers: list[Any] = []
    with torch.no_grad():
        for part in _parts(order):
            vectors, mask = network.embed([ids[i] for i in part])
            vectors = network.layers(vectors, mask, lower)
            for i, row in zip(part, vectors, strict=True):
                hidden[i] = row[: len(ids[i])].half()
            told.append(units.read(network.layers(vectors, mask, upper), mask, part))
            numbers.append(units.numbers(part))
    centre, scale = _spread(torch.cat(told)[np.argsort(np.concatenate(numbers))], 2 if words is None else 1)
    head = torch.zeros(len(centre), targets.shape[1], requires_grad=True)
    bias = torch.zeros(targets.shape[1], requires_grad=True)

    a_pass = -(-len(ids) // BATCH)
    steps = max(min(max(tuning.epochs * a_pass, MIN_STEPS), MAX_STEPS), a_pass)
    optimizer = torch.optim.AdamW(
        [{"params": list(tuned.values()), "lr": LEARN_RATE}, {"params": [head, bias], "lr": HEAD_RATE}],
        weight_decay=WEIGHT_DECAY,
    )
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1.0, (step + 1) / (WARM_UP * steps)) * (1 - step / steps)
    )
    known = torch.from_numpy(~np.isnan(targets))
    wanted = torch.from_numpy(np.nan_to_num(targets)).float()
    counts = torch.from_numpy(np.broadcast_to(weights, targets.shape).copy()).float() * known
    batches = _batches([len(text) for text in ids], random)
    for _ in track(range(steps), f"Tuning {tuning.layers} layers on {len(ids):,} texts"):
        part = next(batches)
        vectors, mask = _padded([hidden[i] for i in part])
        said = units.read(network.layers(vectors, mask, upper, dropout=DROPOUT), mask, part)
        logits = (said - centre) / scale @ head + bias
        rows = units.numbers(part)
        if exclusive:
            losses = -wanted[rows] * functional.log_softmax(logits, dim=1)
        else:
            losses = functional.binary_cross_entropy_with_logits(logits, wanted[rows], reduction="none")
        loss = (counts[rows] * losses).sum() / (len(rows) if exclusive else losses.numel())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(tuned.values(), 1.0)
        optimizer.step()
        schedule.step()

    found = {name: weight.detach().numpy() for name, weight in network.weights.items()}
    dense = (head.detach() / scale[:, None]).double().numpy()
    shift = bias.detach().double().numpy() - centre.double().numpy() @ dense
    return Tuned(Encoder(Encoder.pack(found), encoder.pieces, encoder.heads), dense, shift)


class _Units:
    """What has targets: texts, or words of them.

    texts (int): How many there are.
    words (Optional[Sequence[Sequence[int]]]): See `tune`.
    """

    def __init__(self, texts: int, words: Sequence[Sequence[int]] | None) -> None:
        self._words = None if words is None else [torch.tensor(places, dtype=torch.long) for places in words]
        ends = np.cumsum([1] * texts if words is None else [len(places) for places in words])
        self._numbers = np.split(np.arange(ends[-1]), ends[:-1])

    def numbers(self, part: Sequence[int]) -> Any:
        """RETURNS (NDArray[int]): The units of some texts, U of them."""
        return np.concatenate([self._numbers[i] for i in part])

    def read(self, vectors: Any, mask: Any, part: Sequence[int]) -> Any:
        """RETURNS (Tensor): What is said of them: of texts mean and maximum over the pieces, `(U, 2 H)`; of words the
        vector of the first, `(U, H)`."""
        if self._words is None:
            return _pool(vectors, mask)
        return torch.cat([row[self._words[i]] for row, i in zip(vectors, part, strict=True)])


def _spread(told: Any, parts: int) -> tuple[Any, Any]:
    """RETURNS (Tuple[Tensor, Tensor]): The mean of what is said, and what to divide by, so that each of its parts has
    the length that it should have for the classifier."""
    centre = told.mean(0)
    lengths = ((told - centre) ** 2).mean(0).reshape(parts, -1).sum(1).sqrt()
    lengths = lengths.maximum(NO_SPREAD * centre.reshape(parts, -1).norm(dim=1))
    return centre, lengths.repeat_interleave(len(centre) // parts) / HEAD_SCALE


def _pool(vectors: Any, mask: Any) -> Any:
    """RETURNS (Tensor): Mean and maximum over each text's pieces, `(N, 2 H)`."""
    outside = ~mask[:, :, None]
    mean = vectors.masked_fill(outside, 0.0).sum(1) / mask.sum(1, keepdim=True)
    return torch.cat([mean, vectors.masked_fill(outside, -torch.inf).amax(1)], dim=1)


def _unpacked(arrays: Mapping[str, Any]) -> dict[str, Any]:
    """RETURNS (Dict[str, NDArray[float32]]): The weights; the inverse of `Encoder.pack`."""
    return {
        name: array * arrays[f"{name}.scale"] if f"{name}.scale" in arrays else array.copy()
        for name, array in arrays.items()
        if not name.endswith(".scale")
    }


def _parts(order: Sequence[int]) -> Iterator[list[int]]:
    """YIELDS (List[int]): All in order, `BATCH` at most, none much smaller than the others: each weighs the same."""
    for part in np.array_split(order, -(-len(order) // BATCH)):
        yield part.tolist()


def _batches(lengths: Sequence[int], random: Any) -> Iterator[list[int]]:
    """YIELDS (List[int]): Numbers of texts of about one length, pass after pass in another order."""
    while True:
        order = torch.randperm(len(lengths), generator=random).tolist()
        chunks = [
            sorted(order[start : start + _CHUNK * BATCH], key=lengths.__getitem__)
            for start in range(0, len(order), _CHUNK * BATCH)
        ]
        parts = [part for chunk in chunks for part in _parts(chunk)]
        for number in torch.randperm(len(parts), generator=random).tolist():
            yield parts[number]


def _padded(rows: Sequence[Any]) -> tuple[Any, Any]:
    """RETURNS (Tuple[Tensor, Tensor]): `(N, T, H)` of `(T_i, H)`, and where something is, `(N, T)`."""
    vectors = torch.nn.utils.rnn.pad_sequence([row.float() for row in rows], batch_first=True)
    lengths = torch.tensor([len(row) for row in rows])
    return vectors, torch.arange(vectors.shape[1]) < lengths[:, None]


class _Network:
    """A BERT as functions of its weights."""

    def __init__(self, arrays: Mapping[str, Any], heads: int, random: Any) -> None:
        self.weights = {name: torch.from_numpy(array) for name, array in arrays.items()}
        self._heads, self._random = heads, random

    def embed(self, ids: Sequence[Sequence[int]]) -> tuple[Any, Any]:
        """RETURNS (Tuple[Tensor, Tensor]): See `_padded`."""
        table = self.weights["embeddings.word_embeddings.weight"]
        positions = self.weights["embeddings.position_embeddings.weight"]
        kind = self.weights["embeddings.token_type_embeddings.weight"][0]
        vectors, mask = _padded([table[list(text)] + positions[: len(text)] + kind for text in ids])
        return self._norm(vectors, "embeddings.LayerNorm"), mask

    def layers(self, vectors: Any, mask: Any, numbers: Sequence[int], dropout: float = 0.0) -> Any:
        """RETURNS (Tensor): What these layers make of the vectors, `(N, T, H)`."""
        count, longest, width = vectors.shape
        for number in numbers:
            name = f"encoder.layer.{number}"
            query, key, value = (
                self._linear(vectors, f"{name}.attention.self.{part}")
                .reshape(count, longest, self._heads, -1)
                .transpose(1, 2)
                for part in ("query", "key", "value")
            )
            attended = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask[:, None, None, :])
            attended = attended.transpose(1, 2).reshape(count, longest, width)
            attended = self._linear(attended, f"{name}.attention.output.dense")
            vectors = self._norm(vectors + self._drop(attended, dropout), f"{name}.attention.output.LayerNorm")
            inner = functional.gelu(self._linear(vectors, f"{name}.intermediate.dense"))
            inner = self._drop(self._linear(inner, f"{name}.output.dense"), dropout)
            vectors = self._norm(vectors + inner, f"{name}.output.LayerNorm")
        return vectors

    def _linear(self, vectors: Any, name: str) -> Any:
        return functional.linear(vectors, self.weights[f"{name}.weight"], self.weights[f"{name}.bias"])

    def _norm(self, vectors: Any, name: str) -> Any:
        weight, bias = self.weights[f"{name}.weight"], self.weights[f"{name}.bias"]
        return functional.layer_norm(vectors, bias.shape, weight, bias, EPSILON)

    def _drop(self, vectors: Any, share: float) -> Any:
        if not share:
            return vectors
        kept = torch.rand(vectors.shape, generator=self._random) >= share
        return vectors * kept / (1 - share)
