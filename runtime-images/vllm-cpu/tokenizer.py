"""Tokenizes text for the tiny models, and turns a conversation into a prompt.

One token per byte and no merges, so nothing has to be trained; the rest of the vocabulary is special tokens and names
that no text produces.
"""

from __future__ import annotations

import json
from pathlib import Path

SPECIAL = ("<|pad|>", "<|begin|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")
_BYTES = 256
ASSISTANT = _BYTES + SPECIAL.index("<|assistant|>")
END = _BYTES + SPECIAL.index("<|end|>")
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] + '<|end|>' }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)


def alphabet() -> list[str]:
    """The printable character that stands for each byte, in the order of token ids (GPT-2's table)."""
    printable = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(_BYTES) if byte not in printable]
    return [chr(byte) for byte in printable] + [chr(_BYTES + place) for place in range(len(others))]


def write_tokenizer(folder: Path, vocabulary: int, positions: int) -> None:
    """Write tokenizer.json and tokenizer_config.json. Raises OSError."""
    names = [*alphabet(), *SPECIAL]
    names += [f"<|unused{place}|>" for place in range(len(names), vocabulary)]
    byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True, "use_regex": False}
    added = [
        {
            "id": _BYTES + place,
            "content": name,
            "single_word": False,
            "lstrip": False,
            "rstrip": False,
            "normalized": False,
            "special": True,
        }
        for place, name in enumerate(SPECIAL)
    ]
    model = {"type": "BPE", "vocab": {name: place for place, name in enumerate(names)}, "merges": []}
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": None,
        "pre_tokenizer": byte_level,
        "post_processor": None,
        "decoder": byte_level,
        "model": model,
    }
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|end|>",
        "pad_token": "<|pad|>",
        "clean_up_tokenization_spaces": False,
        "chat_template": CHAT_TEMPLATE,
        "model_max_length": positions,
    }
    for name, content in (("tokenizer.json", document), ("tokenizer_config.json", settings)):
        (folder / name).write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
