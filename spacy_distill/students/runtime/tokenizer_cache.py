"""`spacy_distill.TokenizerCache.v1`: let the tokenizer remember more than 10,000 different chunks of text.

spaCy neither saves that number nor has a setting for it, and long texts of many kinds are split twice as fast with a
larger one.
"""

from typing import Callable

from spacy.language import Language
from spacy.util import registry


@registry.callbacks("spacy_distill.TokenizerCache.v1")  # type: ignore[untyped-decorator]
def make_tokenizer_cache(size: int) -> Callable[[Language], Language]:
    """Make a callback for `[nlp.after_pipeline_creation]`, which spaCy runs at every load.

    size (int): How many chunks, that is, what stands between two spaces.
    """

    def set_size(nlp: Language) -> Language:
        if hasattr(nlp.tokenizer, "max_cache_size"):  # Other languages have other tokenizers.
            nlp.tokenizer.max_cache_size = size
        return nlp

    return set_size
