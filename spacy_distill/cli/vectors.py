"""`spacy-distill vectors`"""

from pathlib import Path
from typing import Annotated, Optional

import typer

from .common import blank, console, progress


def vectors(
    encoder: Annotated[str, typer.Argument(help="A folder with a pretrained encoder, or its name on the hub.")],
    output: Annotated[Path, typer.Argument(help="Where the vectors go: a directory.")],
    texts: Annotated[list[Path], typer.Argument(help="Texts whose words get a vector, labelled or not.")],
    width: Annotated[int, typer.Option(help="Numbers a word.", min=1)] = 128,
    min_count: Annotated[int, typer.Option(help="Leave out words that occur less often.", min=1)] = 1,
    lang: Annotated[str, typer.Option(help="Language of the texts.")] = "en",
    threads: Annotated[Optional[int], typer.Option(help="Threads of the CPU. Default: all.", min=1)] = None,
    text_field: Annotated[str, typer.Option(help="Field with the text.")] = "text",
) -> None:
    """Give a student what a pretrained encoder knows of each word.

    Reads an **encoder** (a sentence transformer, for instance) and **texts**; writes word vectors that `spacy train`
    takes. They pay most where labels are few and words many. The tiny classifier makes them part of its weights; a
    student of entities ships with its table (4 bytes x width x words). Neither needs the encoder any more. Name files
    that hold the words the student will meet, the unlabelled ones included; a word that is in none of them has no
    vector.

    Example: `spacy-distill vectors sentence-transformers/all-MiniLM-L6-v2 assets/vectors assets/texts.jsonl`

    Next: `spacy train configs/textcat_tiny_vectors.cfg --output training/tiny_vectors`; entities: `spacy train
    configs/ner.cfg --output training/ner --paths.vectors assets/vectors
    --components.ner.model.tok2vec.embed.include_static_vectors true`
    """
    from ..errors import InputError
    from ..students.vectors import count_words, make_vectors
    from ..texts import read_texts

    nlp = blank(lang)
    counts = count_words(nlp, (text.text for path in texts for text in read_texts(path, text_field=text_field)))
    words = [word for word, count in counts.most_common() if count >= min_count]
    if not words:
        raise InputError(f"No word occurs {min_count} times in {', '.join(map(str, texts))}.")
    with progress(f"Encoding {len(words)} words", len(words)) as advance:
        make_vectors(nlp, words, encoder, width=width, threads=threads, progress=advance)
    output.mkdir(parents=True, exist_ok=True)  # not before: an empty one would pass for word vectors
    nlp.to_disk(output)
    share = sum(counts[word] for word in words) / counts.total()
    size_mb = 4 * width * len(words) / 1e6
    console.print(f"Wrote {output}: {len(words):,} words, {share:.1%} of the texts' tokens, {size_mb:.1f} MB")
