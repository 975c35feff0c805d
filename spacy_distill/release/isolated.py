"""Answer texts with a pipeline in a process that has spaCy but neither this package nor spaCy-llm.

`verify` runs this file's source text with the pipeline's path as argument and a JSON list of texts on standard input;
the answers go to standard output. It must not import anything of ours; Python files in the pipeline's directory are the
code that the pipeline carries with it, and are run first, as the installed package does when it is imported.
"""

import importlib.abc
import importlib.metadata
import json
import sys
from pathlib import Path
from typing import Any

BLOCKED = ("spacy_distill", "spacy_llm")


class Blocker(importlib.abc.MetaPathFinder):
    """Acts as if the blocked packages were not installed."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:
        if fullname.split(".")[0] in BLOCKED:
            raise ModuleNotFoundError(f"No module named {fullname!r}", name=fullname)


def main(path: str) -> None:
    """Answer standard input's texts."""
    installed = importlib.metadata.distributions

    def others(**kwargs: Any) -> Any:  # spaCy imports the factories of every installed package
        return (d for d in installed(**kwargs) if (d.metadata["Name"] or "").replace("-", "_").lower() not in BLOCKED)

    importlib.metadata.distributions = others
    sys.meta_path.insert(0, Blocker())
    import spacy
    from spacy.util import import_file

    for code in sorted(Path(path).glob("*.py")):
        import_file(code.stem, code)
    nlp = spacy.load(path)
    docs = nlp.pipe(json.load(sys.stdin))
    answers = [
        {"cats": doc.cats, "ents": [[ent.start_char, ent.end_char, ent.label_] for ent in doc.ents]} for doc in docs
    ]
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main(sys.argv[1])
