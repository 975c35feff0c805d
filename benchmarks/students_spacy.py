"""spaCy's stock text classifiers and ours as systems of `benchmarks.students`, trained with `spacy train`'s own loop.

All hold out 15 % of the labelled texts for dev, as `spacy-distill corpus` splits them; those of ours that need none to
know when to stop learn from it in the end, as in `spacy-distill sweep`. Stock ones have the settings that `spacy init
config` writes; ours are the configs in `configs/`, packaged without training's leftovers as `release` does. What only
training needs is imported there, so that memory is that of a process that predicts.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import shutil
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import spacy
from spacy.language import Language
from spacy.pipeline.textcat import single_label_bow_config, single_label_default_config
from spacy.util import load_config
from thinc.api import Config

from . import ROOT
from .students_peers import System, needs_torch

DEV_SHARE = 0.15
SPLITS, SPLIT_TEXTS = 3, 1000
"""Ours are compared on so many splits, a training each, as in a sweep; with more texts, one dev is large enough."""
VECTORS_WIDTH = 128
"""Numbers a word, as `spacy-distill vectors` has it."""
CAP_S = 120.0
"""CPU seconds of training; then the best step so far counts."""
STEPS, PATIENCE = 3000, 1000
"""Of the stock ones. `spacy init config` says 20,000 and 1,600: their best step here comes after 800 to 2,800."""
ATTENTION = """
[model]
@architectures = "spacy.TextCatParametricAttention.v1"
exclusive_classes = true

[model.tok2vec]
@architectures = "spacy.Tok2Vec.v2"

[model.tok2vec.embed]
@architectures = "spacy.MultiHashEmbed.v2"
width = 64
rows = [2000, 2000, 500, 1000, 500]
attrs = ["NORM", "LOWER", "PREFIX", "SUFFIX", "SHAPE"]
include_static_vectors = false

[model.tok2vec.encode]
@architectures = "spacy.MaxoutWindowEncoder.v2"
width = 64
window_size = 1
maxout_pieces = 3
depth = 2
"""


class _CapReachedError(Exception):
    pass


class SpacySystem(System):
    """A pipeline with one text classifier."""

    nlp: Language
    best: Path
    vectors: Path
    raced: ClassVar[bool] = False

    def config(self) -> Config:
        """RETURNS (Config): Of training, without paths."""
        raise NotImplementedError

    def prepare(self) -> None:
        self.folder = tempfile.TemporaryDirectory()

    def fit(self, texts: Sequence[str], targets: Sequence[Any]) -> None:
        from spacy_distill.corpus.build import TRAIN, build
        from spacy_distill.docs import doc_of, write_docs

        blank = spacy.blank("en")
        records = [self._record(*item) for item in zip(range(len(texts)), texts, targets, strict=True)]
        docs = [doc_of(blank, record)[0] for record in records]

        def once(number: int) -> Any:
            folder = Path(self.folder.name) / str(number)
            corpus = build(docs, records, dev_share=DEV_SHARE, seed=self.seed + number)
            corpus.write(folder)
            config = self._config_for(folder, self.seed + number)
            self._train(config, folder / "trained")
            held_out = [doc.text for doc in corpus.dev]
            told = [max(doc.cats, key=doc.cats.__getitem__) for doc in corpus.dev]
            found = self.predict(held_out)
            devs.append(_share_equal(told, found))
            reviewed.append(_share_equal([self.gold[text] for text in held_out], found))
            return corpus, config, folder

        devs: list[float] = []
        reviewed: list[float] = []
        corpus, config, folder = once(0)
        if config["training"]["max_steps"] == 1:  # as `spacy-distill sweep` does
            write_docs(folder / TRAIN, [*corpus.train, *corpus.dev], keep="targets")
            self._train(config, folder / "whole")
        if self.raced and len(texts) <= SPLIT_TEXTS:
            best, start = self.best, time.process_time()
            for number in range(1, SPLITS):
                once(number)
            self.best, self.apart_s = best, time.process_time() - start
        self.dev, self.dev_reviewed = statistics.mean(devs), statistics.mean(reviewed)

    def _config_for(self, folder: Path, seed: int) -> Config:
        from spacy_distill.corpus.build import DEV, LABELS, TRAIN

        config = self.config()
        paths = {"train": TRAIN, "dev": DEV, "labels": LABELS}
        config["paths"].update({name: str(folder / file) for name, file in paths.items() if name in config["paths"]})
        if "encoder" in config["paths"]:
            config["paths"]["encoder"] = str(self.encoder)
        if config["paths"].get("vectors"):
            config["paths"]["vectors"] = str(self.vectors)
        config["system"]["seed"] = seed
        config["training"]["before_update"] = {"@callbacks": "benchmarks.cap.v1", "seconds": CAP_S}
        return config

    def _train(self, config: Config, folder: Path) -> None:
        from spacy.training.initialize import init_nlp
        from spacy.training.loop import train

        folder.mkdir()
        with contextlib.suppress(_CapReachedError):
            train(init_nlp(config), folder, stdout=io.StringIO(), stderr=io.StringIO())
        self.best = folder / "model-best"
        self.nlp = spacy.load(self.best)

    def _record(self, number: int, text: str, target: Any) -> Any:
        from spacy_distill.types import Annotation

        probabilities = target if isinstance(target, dict) else {target: 1.0}
        return Annotation(
            id=str(number),
            text=text,
            task="textcat",
            labels=tuple(self.labels),
            status="ok",
            cats={label: float(probabilities.get(label, 0.0)) for label in self.labels},
        )

    def save(self, folder: Path) -> None:
        shutil.copytree(self.best, folder / "model")

    def load(self, folder: Path) -> None:
        self.nlp = spacy.load(folder / "model")

    def predict(self, texts: Sequence[str]) -> list[str]:
        return [max(doc.cats, key=doc.cats.__getitem__) for doc in self.nlp.pipe(texts, batch_size=256)]


def _share_equal(told: Sequence[str], found: Sequence[str]) -> float:
    return sum(map(str.__eq__, told, found)) / len(told)


def _make_vectors(folder: Path, texts: Sequence[str], encoder: Path) -> float:
    """Write vectors of all words, as `spacy-distill vectors` makes them, unless they are there.

    RETURNS (float): The CPU seconds that they took.
    """
    from spacy_distill.students.vectors import count_words, make_vectors

    seconds = folder / "seconds.txt"
    if not seconds.exists():
        start = time.process_time()
        nlp = spacy.blank("en")
        words = [word for word, _ in count_words(nlp, texts).most_common()]
        make_vectors(nlp, words, str(encoder), width=VECTORS_WIDTH, threads=1)
        folder.parent.mkdir(parents=True, exist_ok=True)
        nlp.to_disk(folder)
        seconds.write_text(str(time.process_time() - start), encoding="utf8")
    return float(seconds.read_text(encoding="utf8"))


def _remember_encodings() -> None:
    """Encode each text once in all trainings of one measurement: the encoder is frozen, and most of the cost."""
    from spacy_distill.students.runtime.frozen_encoder import Encoder

    encode = Encoder.encode
    known: dict[str, Any] = {}

    def remembered(self: Encoder, texts: Sequence[str]) -> Any:
        new = [text for text in dict.fromkeys(texts) if text not in known]
        if new:
            known.update(zip(new, encode(self, new), strict=True))
        return np.stack([known[text] for text in texts])

    Encoder.encode = remembered  # type: ignore[method-assign]


@spacy.registry.callbacks("benchmarks.cap.v1")
def _make_cap(seconds: float) -> Any:
    start = time.process_time()

    def cap(_nlp: Language, _info: dict[str, Any]) -> None:
        if time.process_time() - start > seconds:
            raise _CapReachedError

    return cap


class Stock(SpacySystem):
    """One of spaCy's architectures, as it comes."""

    model: ClassVar[str]

    def config(self) -> Config:
        from spacy.cli.init_config import init_config

        config = init_config(lang="en", pipeline=["textcat"], optimize="efficiency")
        config["components"]["textcat"]["model"] = Config().from_str(self.model)["model"]
        config["training"].update(max_steps=STEPS, patience=PATIENCE)
        return config


class Bow(Stock):
    """TextCatBOW.v3, single words."""

    title = "spaCy's BOW"
    model = single_label_bow_config


class Ensemble(Stock):
    """TextCatEnsemble.v2: `textcat`'s default."""

    title = "spaCy's ensemble"
    model = single_label_default_config


class Attention(Stock):
    """TextCatParametricAttention.v1 with the depth and width that measured best."""

    title = "spaCy's attention"
    model = ATTENTION


class Ours(SpacySystem):
    """A config of ours, trained on the teacher's probabilities where there are any, packaged as `release` does."""

    path: ClassVar[Path]
    soft = raced = True

    def prepare(self) -> None:
        super().prepare()
        _remember_encodings()
        if self.config()["paths"].get("vectors"):
            words = hashlib.sha256("\n".join(self.unlabelled).encode()).hexdigest()[:16]
            self.vectors = (self.cache or Path(self.folder.name)) / "vectors" / words
            self.before_s = _make_vectors(self.vectors, self.unlabelled, self.encoder)

    def config(self) -> Config:
        return load_config(self.path)

    def save(self, folder: Path) -> None:
        from spacy_distill.release.freeze import freeze

        freeze(self.best, folder / "model")


STOCK: dict[str, type[System]] = {"spacy_bow": Bow, "spacy_ensemble": Ensemble, "spacy_attention": Attention}


def _ours() -> Iterator[tuple[str, type[System]]]:
    """YIELDS (Tuple[str, Type[System]]): Each config that does exclusive classes, by its name in the tables."""
    for path in sorted((ROOT / "configs").glob("textcat_*.cfg")):
        if "multilabel" not in path.stem:
            name = path.stem.removeprefix("textcat_")
            needs = ("torch", "transformers") if load_config(path)["paths"].get("vectors") else ()
            yield name, type(path.stem, (Ours,), {"path": path, "torch": needs_torch(name), "needs": needs})


OURS: dict[str, type[System]] = dict(_ours())
