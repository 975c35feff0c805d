"""A BERT of a few kilobytes with random weights, in the files of a real one."""

import json
import struct

import numpy as np

WORDS = ["the", "it", "is", "was", "very", "not", "love", "lovely", "bright", "broke", "awful", "screen", "hinge"]
PIECES = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *WORDS, *"abcdefghijklmnopqrstuvwxyz!.,?-'", "##s", "##ly", "##er", "##e"]
PIECES += [f"##{letter}" for letter in "abcdfghijklmnopqrtuvwxyz"] + ["学", "##ed"]
WIDTH, LAYERS, HEADS, INNER = 24, 2, 3, 40


def weights(seed=0):
    """RETURNS (Dict[str, NDArray]): Named as in a checkpoint."""
    rng = np.random.default_rng(seed)
    shapes = {"embeddings.word_embeddings": (len(PIECES), WIDTH)}
    shapes |= {"embeddings.position_embeddings": (300, WIDTH), "embeddings.token_type_embeddings": (2, WIDTH)}
    for i in range(LAYERS):
        name = f"encoder.layer.{i}"
        shapes |= {f"{name}.attention.self.{part}": (WIDTH, WIDTH) for part in ("query", "key", "value")}
        shapes |= {f"{name}.attention.output.dense": (WIDTH, WIDTH), f"{name}.intermediate.dense": (INNER, WIDTH)}
        shapes |= {f"{name}.output.dense": (WIDTH, INNER)}
    found = {f"{name}.weight": rng.normal(scale=0.3, size=shape) for name, shape in shapes.items()}
    found |= {
        f"{name}.bias": rng.normal(scale=0.3, size=shape[0]) for name, shape in shapes.items() if "encoder" in name
    }
    norms = [f"encoder.layer.{i}.{part}output.LayerNorm" for i in range(LAYERS) for part in ("attention.", "")]
    for name in ["embeddings.LayerNorm", *norms]:
        found |= {f"{name}.weight": rng.normal(1, 0.1, WIDTH), f"{name}.bias": rng.normal(0, 0.1, WIDTH)}
    return {name: value.astype("<f4") for name, value in found.items()}


def write(folder, arrays=None, **changes):
    """Write an encoder. changes (Any): Other settings for config.json."""
    folder.mkdir(exist_ok=True)
    config = {"model_type": "bert", "hidden_act": "gelu", "layer_norm_eps": 1e-12, "hidden_size": WIDTH}
    config |= {"num_hidden_layers": LAYERS, "num_attention_heads": HEADS, "intermediate_size": INNER}
    config |= {"vocab_size": len(PIECES), "max_position_embeddings": 300, "type_vocab_size": 2, **changes}
    (folder / "config.json").write_text(json.dumps(config))
    normalizer = {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True}
    tokenizer = {
        "version": "1.0",
        "added_tokens": [],
        "normalizer": {**normalizer, "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {"type": "BertProcessing", "sep": ["[SEP]", 3], "cls": ["[CLS]", 2]},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": {piece: i for i, piece in enumerate(PIECES)},
        },
    }
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer))
    header, numbers = {}, b""
    for name, array in (arrays or weights()).items():
        end = len(numbers) + array.nbytes
        header[f"bert.{name}"] = {"dtype": "F32", "shape": array.shape, "data_offsets": [len(numbers), end]}
        numbers += array.tobytes()
    head = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(struct.pack("<Q", len(head)) + head + numbers)
    return folder
