"""Other ways to classify texts, as small adapters: fit on texts and labels, save, load, predict.

Settings are those of each one's documentation or tutorial unless said; every cap on training stands here.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

TUNED_EPOCHS = 60
"""model2vec's fine-tuning stops early, or here."""
SETFIT_STEPS = 200
"""Contrastive steps of 16 pairs, a second or two each: SetFit's own default at 1,000 texts takes hours on a CPU."""
SETFIT_TEXTS = 1000
"""It is measured up to so many texts."""


class System:
    """What all of them have in common.

    title (str): Its name in a table.
    needs (Sequence[str]): Modules that must be installed.
    torch (bool): Whether torch is needed to predict. Where it is not, it is kept out of the process that predicts.
    per_text_s (float): CPU seconds that each text cost to encode, where encodings were taken from the cache.
    apart_s (float): CPU seconds within `fit` that go into comparing with others, and not into the model.
    before_s (float): CPU seconds of what was made before, kept, and is part of learning all the same.
    gold (Dict[str, str]): What people said of each training text. Nothing is learned from it.
    unlabelled (Sequence[str]): Texts that are at hand without labels, those of the training among them.
    dev (Optional[float]): Accuracy on the held-out part of the labelled texts, for those that hold out.
    dev_reviewed (Optional[float]): The same, had people reviewed the held-out part.
    """

    title: ClassVar[str]
    needs: ClassVar[Sequence[str]] = ()
    torch: ClassVar[bool] = False
    soft: ClassVar[bool] = False

    def __init__(self, labels: Sequence[str], seed: int, encoder: Path, cache: Path | None) -> None:
        self.labels, self.seed, self.encoder, self.cache = list(labels), seed, encoder, cache
        self.per_text_s = self.apart_s = self.before_s = 0.0
        self.gold: dict[str, str] = {}
        self.unlabelled: Sequence[str] = ()
        self.dev: float | None = None
        self.dev_reviewed: float | None = None

    @classmethod
    def missing(cls) -> list[str]:
        """RETURNS (List[str]): What is not installed."""
        return [name for name in cls.needs if find_spec(name) is None]

    def prepare(self) -> None:
        """Import and load what training does not make; not timed."""

    def fit(self, texts: Sequence[str], targets: Sequence[Any]) -> None:
        """Learn. targets: Labels, or with `soft` a mapping from label to probability for each text."""
        raise NotImplementedError

    def save(self, folder: Path) -> None:
        """Write what has to be shipped."""
        raise NotImplementedError

    def load(self, folder: Path) -> None:
        """Read it again."""
        raise NotImplementedError

    def predict(self, texts: Sequence[str]) -> list[str]:
        """RETURNS (List[str]): A label for each text."""
        raise NotImplementedError


class SklearnPipeline(System):
    """A scikit-learn pipeline, saved with joblib."""

    model: Any

    def make(self) -> Any:
        """RETURNS (Pipeline): Untrained."""
        raise NotImplementedError

    def prepare(self) -> None:
        self.model = self.make()

    def fit(self, texts: Sequence[str], targets: Sequence[Any]) -> None:
        self.model.fit(list(texts), list(targets))

    def save(self, folder: Path) -> None:
        import joblib

        joblib.dump(self.model, folder / "model.joblib")

    def load(self, folder: Path) -> None:
        import joblib

        self.model = joblib.load(folder / "model.joblib")

    def predict(self, texts: Sequence[str]) -> list[str]:
        return [str(label) for label in self.model.predict(list(texts))]


class TfidfLr(SklearnPipeline):
    """TF-IDF of words, logistic regression: scikit-learn's defaults, as in the tutorials."""

    title = "TF-IDF"

    def make(self) -> Any:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        return make_pipeline(TfidfVectorizer(), LogisticRegression(max_iter=1000))


class NgramsLr(SklearnPipeline):
    """Words and their pairs, and characters in windows of 2 to 5, both weighted; logistic regression."""

    title = "n-grams"

    def make(self) -> Any:
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline, make_union

        words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True)
        characters = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), min_df=2, sublinear_tf=True)
        return make_pipeline(make_union(words, characters), LogisticRegression(C=10, max_iter=200))


class Floret(System):
    """floret, which is fastText with a smaller table: words, pairs and subwords, trained as in fastText's tutorial."""

    title = "floret"
    needs = ("floret",)
    model: Any

    def prepare(self) -> None:
        import floret

        self.module = floret

    def fit(self, texts: Sequence[str], targets: Sequence[Any]) -> None:
        import tempfile

        numbers = {label: i for i, label in enumerate(self.labels)}
        with tempfile.NamedTemporaryFile("w", suffix=".txt", encoding="utf8") as file:
            for text, label in zip(texts, targets, strict=True):
                file.write(f"__label__{numbers[label]} {_one_line(text)}\n")
            file.flush()
            self.model = self.module.train_supervised(
                input=file.name, lr=0.5, epoch=25, wordNgrams=2, minn=3, maxn=5, bucket=100_000, thread=1, verbose=0
            )

    def save(self, folder: Path) -> None:
        self.model.save_model(str(folder / "model.bin"))

    def load(self, folder: Path) -> None:
        import floret

        self.model = floret.load_model(str(folder / "model.bin"))

    def predict(self, texts: Sequence[str]) -> list[str]:
        found, _ = self.model.predict([_one_line(text) for text in texts])
        return [self.labels[int(best[0].removeprefix("__label__"))] for best in found]


def _one_line(text: str) -> str:
    return " ".join(text.lower().split())


class Model2vecLr(System):
    """The encoder's static word pieces, 256 numbers each (model2vec's defaults), mean; logistic regression.

    What model2vec makes of the encoder is made once and kept: its users download it.
    """

    title = "model2vec"
    needs = ("model2vec", "skeletoken")
    model: Any
    head: Any

    def static(self) -> Any:
        """RETURNS (StaticModel): From the cache, made if it is not there."""
        from model2vec import StaticModel

        assert self.cache is not None
        folder = self.cache / "model2vec"
        if not folder.exists():
            from model2vec.distill import distill

            distill(str(self.encoder), pca_dims=256).save_pretrained(str(folder))
        return StaticModel.from_pretrained(str(folder))

    def prepare(self) -> None:
        from sklearn.linear_model import LogisticRegression

        self.model, self.head = self.static(), LogisticRegression(C=10, max_iter=1000)

    def fit(self, texts: Sequence[str], targets: Sequence[Any]) -> None:
        self.head.fit(self._encode(texts), list(targets))

    def _encode(self, texts: Sequence[str]) -> Any:
        return self.model.encode(list(texts), use_multiprocessing=False)

    def save(self, folder: Path) -> None:
        import joblib

        self.model.save_pretrained(str(folder / "static"))
        joblib.dump(self.head, folder / "head.joblib")

    def load(self, folder: Path) -> None:
        import joblib
        from model2vec import StaticModel

        self.model = StaticModel.from_pretrained(str(folder / "static"))
        self.head = joblib.load(folder / "head.joblib")

    def predict(self, texts: Sequence[str]) -> list[str]:
        return [str(label) for label in self.head.predict(self._encode(texts))]


class Model2vecTuned(Model2vecLr):
    """The same, trained further on the labels: model2vec's own classifier, its defaults, saved as it ships."""

    title = "model2vec, tuned"

    def prepare(self) -> None:
        from model2vec.train import StaticModelForClassification

        self.model = StaticModelForClassification.from_static_model(model=self.static())

    def fit(self, texts: Sequence[str], targets: Sequence[Any]) -> None:
        counts = {label: list(targets).count(label) for label in set(targets)}
        rare = [i for i, label in enumerate(targets) if counts[label] < 2]  # its stratified split refuses them
        texts = [*texts, *(texts[i] for i in rare)]
        targets = [*targets, *(targets[i] for i in rare)]
        share = max(0.1, len(counts) / len(texts))
        self.model.fit(texts, targets, max_epochs=TUNED_EPOCHS, test_size=share, device="cpu", random_seed=self.seed)

    def save(self, folder: Path) -> None:
        self.model.to_pipeline().save_pretrained(str(folder / "pipeline"))

    def load(self, folder: Path) -> None:
        from model2vec.inference import StaticModelPipeline

        self.model = StaticModelPipeline.from_pretrained(str(folder / "pipeline"))

    def predict(self, texts: Sequence[str]) -> list[str]:
        return [str(label) for label in self.model.predict(list(texts), use_multiprocessing=False)]


class MiniLmLr(System):
    """Sentence embeddings of the frozen encoder, logistic regression.

    Encoding is most of its cost. Encodings are kept in the cache, and their measured cost is added to the times.
    """

    title = "MiniLM"
    needs = ("sentence_transformers",)
    torch = True
    model: Any
    head: Any

    def prepare(self) -> None:
        from sklearn.linear_model import LogisticRegression

        self.model, self.head = _sentence_transformer(self.encoder), LogisticRegression(C=10, max_iter=1000)

    def fit(self, texts: Sequence[str], targets: Sequence[Any]) -> None:
        self.head.fit(self._encode(texts), list(targets))

    def _encode(self, texts: Sequence[str]) -> Any:
        if self.cache is None:
            return self.model.encode(list(texts), show_progress_bar=False, normalize_embeddings=True)
        path = self.cache / "embeddings.npz"
        kept: dict[str, Any] = {}
        if path.exists():
            with np.load(path) as file:
                kept = dict(zip(file["keys"].tolist(), file["vectors"], strict=True))
        keys = [hashlib.sha256(text.encode()).hexdigest()[:24] for text in texts]
        new = {key: text for key, text in zip(keys, texts, strict=True) if key not in kept}
        sample = list(new.values()) or list(texts[:64])
        start = time.process_time()
        vectors = self.model.encode(sample, show_progress_bar=False, normalize_embeddings=True)
        self.per_text_s = (time.process_time() - start) / len(sample)
        if new:
            kept.update(zip(new, vectors, strict=True))
            part = path.with_suffix(".part.npz")
            np.savez(part, keys=np.asarray(list(kept)), vectors=np.stack(list(kept.values())))
            part.replace(path)
        return np.stack([kept[key] for key in keys])

    def save(self, folder: Path) -> None:
        import joblib

        self.model.save(str(folder / "encoder"))
        joblib.dump(self.head, folder / "head.joblib")

    def load(self, folder: Path) -> None:
        import joblib

        self.model = _sentence_transformer(folder / "encoder")
        self.head = joblib.load(folder / "head.joblib")

    def predict(self, texts: Sequence[str]) -> list[str]:
        return [str(label) for label in self.head.predict(self._encode(texts))]


def _sentence_transformer(path: Path) -> Any:
    from sentence_transformers import SentenceTransformer

    return SentenceTransformer(str(path), device="cpu")


class SetFit(System):
    """SetFit on the same encoder: contrastive fine-tuning, cut at `SETFIT_STEPS`, then logistic regression."""

    title = "SetFit"
    needs = ("setfit", "sentence_transformers", "datasets")
    torch = True
    model: Any

    def prepare(self) -> None:
        from setfit import SetFitModel

        self.model = SetFitModel.from_pretrained(str(self.encoder), device="cpu")

    def fit(self, texts: Sequence[str], targets: Sequence[Any]) -> None:
        import tempfile

        from datasets import Dataset
        from setfit import Trainer, TrainingArguments

        os.environ["TQDM_DISABLE"] = "1"
        with tempfile.TemporaryDirectory() as folder:
            settings = TrainingArguments(
                output_dir=folder,
                batch_size=16,
                max_steps=SETFIT_STEPS,
                num_iterations=max(1, SETFIT_STEPS * 16 // (2 * len(texts)) + 1),
                seed=self.seed,
                show_progress_bar=False,
                save_strategy="no",
                report_to="none",
            )
            numbers = {label: i for i, label in enumerate(self.labels)}
            rows = Dataset.from_dict({"text": list(texts), "label": [numbers[label] for label in targets]})
            Trainer(model=self.model, args=settings, train_dataset=rows).train()

    def save(self, folder: Path) -> None:
        self.model.save_pretrained(str(folder / "model"))

    def load(self, folder: Path) -> None:
        from setfit import SetFitModel

        self.model = SetFitModel.from_pretrained(str(folder / "model"), device="cpu")

    def predict(self, texts: Sequence[str]) -> list[str]:
        return [self.labels[int(number)] for number in self.model.predict(list(texts))]


PEERS: dict[str, type[System]] = {
    "tfidf_lr": TfidfLr,
    "ngrams_lr": NgramsLr,
    "floret": Floret,
    "model2vec_lr": Model2vecLr,
    "model2vec_tuned": Model2vecTuned,
    "minilm_lr": MiniLmLr,
    "setfit": SetFit,
}


def needs_torch(name: str) -> bool:
    """RETURNS (bool): Whether a system, a peer or one of ours, predicts with torch; without importing it."""
    return PEERS[name].torch if name in PEERS else name == "transformer"
