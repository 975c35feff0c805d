"""Word vectors from a pretrained encoder: what it knows of each word by itself, in a table that spaCy reads.

A student that reads the table starts with an idea of words that its few labelled texts do not have. The encoder is
needed to make the table, not to use it. See Tulkens and van Dongen 2024 (Model2Vec) for the idea. Theirs weighs words
by how rare they are; students here learn that, or weigh words by idf themselves.
"""

from __future__ import annotations

import contextlib
import io
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from spacy.language import Language
from spacy.vectors import Vectors

from ..errors import ConfigError, InputError, StageError

Floats = NDArray[np.float32]

_LONGEST_WORD = 32
"""Word pieces: a URL or a line of dashes is cut there."""


def make_vectors(
    nlp: Language,
    words: Sequence[str],
    encoder: str,
    *,
    width: int,
    threads: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> None:
    """Give a pipeline what an encoder knows of each word.

    words (Sequence[str]): In lower case, the most frequent first.
    encoder (str): See `load_encoder`, which says what is raised.
    width (int): Numbers a word; see `reduce`.
    progress (Optional[Callable[[int], None]]): See `encode_words`.
    """
    encoded = encode_words(words, *load_encoder(encoder, threads), progress=progress)
    set_vectors(nlp, words, reduce(encoded, width), name=f"{Path(encoder).name}_{width}")


def count_words(nlp: Language, texts: Iterable[str]) -> Counter[str]:
    """RETURNS (Counter[str]): How often each word of the texts occurs, in lower case; white space is no word."""
    words: Counter[str] = Counter()
    for text in texts:
        words.update(token.lower_ for token in nlp.make_doc(text) if not token.is_space)
    return words


def load_encoder(name: str, threads: int | None = None) -> tuple[Any, Any]:
    """Load a tokenizer and an encoder on the CPU.

    name (str): A folder, or a hub name such as "sentence-transformers/all-MiniLM-L6-v2".
    RETURNS (Tuple[PreTrainedTokenizer, PreTrainedModel]): The model in evaluation mode.
    RAISES (StageError): The extra `local` is not installed.
    RAISES (InputError): There is no such encoder.
    """
    try:
        import torch
        from transformers import AutoModel, AutoTokenizer
    except ImportError as error:
        raise StageError(
            f"An encoder needs torch and transformers ({error}). Install: pip install 'spacy-distill[local]'"
        ) from error
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        with contextlib.redirect_stderr(io.StringIO()):  # Progress bars that no switch turns off.
            return AutoTokenizer.from_pretrained(name), AutoModel.from_pretrained(name).eval()
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise InputError(f"The encoder {name} cannot be loaded ({type(error).__name__}: {error}).") from error


def encode_words(
    words: Sequence[str],
    tokenizer: Any,
    encoder: Any,
    *,
    batch_size: int = 256,
    progress: Callable[[int], None] | None = None,
) -> Floats:
    """Encode each word by itself.

    progress (Optional[Callable[[int], None]]): Called with the number of words done since the last call.
    RETURNS (NDArray[float]): For each word the mean of the last layer over its own pieces, `(N, H)`.
    """
    import torch

    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    found = np.zeros((len(words), encoder.config.hidden_size), dtype=np.float32)
    order = sorted(range(len(words)), key=lambda index: len(words[index]))  # Words of one length need no padding.
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            batch = order[start : start + batch_size]
            encoded = tokenizer(
                [words[index] for index in batch],
                return_tensors="pt",
                padding=True,
                truncation=True,
                max_length=_LONGEST_WORD,
                return_special_tokens_mask=True,
            )
            special = encoded.pop("special_tokens_mask")
            hidden = encoder(**encoded).last_hidden_state
            own = ((1 - special) * encoded["attention_mask"]).unsqueeze(-1)
            found[batch] = ((hidden * own).sum(1) / own.sum(1).clamp(min=1)).numpy()
            if progress is not None:
                progress(len(batch))
    return found


def reduce(vectors: Floats, width: int) -> Floats:
    """Keep the principal components, scaled so that a coordinate's mean square is 1.

    vectors (NDArray[float]): `(N, H)`.
    RETURNS (NDArray[float]): `(N, width)`, rounded to half precision: students tell no difference, and a wheel packs
        the table to three fifths of its size. spaCy computes with single precision alone.
    RAISES (ConfigError): `width` is larger than N or H.
    """
    from sklearn.decomposition import PCA

    most = min(vectors.shape)
    if not 1 <= width <= most:
        raise ConfigError(f"width is {width}; with {vectors.shape[0]} words of {vectors.shape[1]} it is 1 to {most}.")
    reduced = PCA(width, random_state=0).fit_transform(vectors)
    return np.asarray(np.asarray(reduced / np.sqrt(np.mean(reduced**2)), np.float16), np.float32)


def set_vectors(nlp: Language, words: Sequence[str], vectors: Floats, name: str) -> None:
    """Give a pipeline a table of vectors. A word's row is found in lower case, Capitalized and in CAPITALS; spaCy looks
    words up as they are written. A word that is not in it has a vector of zeros.

    words (Sequence[str]): In lower case.
    vectors (NDArray[float]): `(N, width)`.
    name (str): The table's name.
    """
    rows: dict[int, int] = {}
    for row, word in enumerate(words):
        for form in (word, word.capitalize(), word.title(), word.upper()):
            rows.setdefault(nlp.vocab.strings.add(form), row)
    table = Vectors(strings=nlp.vocab.strings, data=vectors, name=name)
    for key, row in rows.items():
        table.add(key, row=row)
    nlp.vocab.vectors = table
