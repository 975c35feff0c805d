"""Distil a large language model's knowledge of one task into a tiny spaCy pipeline.

Importing this imports nothing else: spaCy reads the entry points of every installed package, and its users should not
pay for ours. What stands in `__all__` is fetched when it is first used.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .release.replace import replace as replace

    __version__: str

__all__ = ["__version__", "replace"]


def __getattr__(name: str) -> Any:
    if name == "replace":
        from .release.replace import replace

        return replace
    if name == "__version__":
        from importlib.metadata import version

        return version("spacy-distill")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
