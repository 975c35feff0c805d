"""Small random language models with a tokenizer of their own, made on the spot: real in everything but their wits."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers

SENTENCES = [
    "Say whether the tea is good or bad.\n\nTea: a fine green leaf, fresh and bright\nVerdict: very good\n\n",
    "Tea: dusty bags, stale and flat\nVerdict: very bad\n\nTea: no opinion\nVerdict: neither\n\n",
    "good bad neither very good very bad verdict tea leaf fresh stale bright flat dusty green fine",
] * 4


def make_tokenizer(bos: bool) -> Any:
    """RETURNS (PreTrainedTokenizerFast): Byte-level, `<s>` is token 0 and `</s>` token 1; `<s>` is put before every
    text if `bos`."""
    bpe = tokenizers.Tokenizer(tokenizers.models.BPE())
    bpe.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<s>", "</s>"],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(SENTENCES, trainer)
    if bos:
        bpe.post_processor = tokenizers.processors.TemplateProcessing(single="<s> $A", special_tokens=[("<s>", 0)])
    return transformers.PreTrainedTokenizerFast(tokenizer_object=bpe, bos_token="<s>", eos_token="</s>")


def make_config(kind: str, vocab: int, window: int) -> Any:
    """RETURNS (PretrainedConfig): Three narrow layers with weights large enough for the context to matter."""
    special = {"bos_token_id": 0, "eos_token_id": 1}
    common = {
        **special,
        "vocab_size": vocab,
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "num_key_value_heads": 2,
        "intermediate_size": 48,
        "max_position_embeddings": window,
        "initializer_range": 0.4,
        "pad_token_id": 1,
    }
    if kind == "gpt2":
        return transformers.GPT2Config(
            **special, vocab_size=vocab, n_embd=32, n_layer=3, n_head=4, n_positions=window, initializer_range=0.2
        )
    if kind == "mistral":
        return transformers.MistralConfig(**common, sliding_window=9)
    if kind == "gemma2":
        return transformers.Gemma2Config(**common, head_dim=8, sliding_window=9, final_logit_softcapping=5.0)
    return transformers.LlamaConfig(**common)


def save_model(folder: Path, kind: str = "llama", bos: bool = False, window: int = 160) -> Path:
    """Write a model and its tokenizer.

    kind (str): "llama", "gpt2", "mistral" (a sliding window of 9) or "gemma2" (sliding and full layers).
    RETURNS (Path): The folder.
    """
    torch.set_num_threads(1)
    torch.manual_seed(0)
    tokenizer = make_tokenizer(bos)
    model = transformers.AutoModelForCausalLM.from_config(make_config(kind, len(tokenizer), window))
    tokenizer.save_pretrained(folder)
    model.save_pretrained(folder)
    return folder
