"""Tokens that stand beside tokenizer.json: what transformers' AutoTokenizer makes of them -> golden/named-tokens.json.

Each case is a folder of small files around one vocabulary of whole words; the texts are encoded and decoded as they are, without special
tokens, and with special tokens split.

Setup: pip install tokenizers transformers. Run: python reference/named_tokens.py
"""

import json
import platform
import tempfile
from pathlib import Path

import tokenizers
import transformers
from transformers import AutoTokenizer

WORDS = ["<unk>", "hello", "world", "<eos>", "<x>", "a", "<", ">", "eos", "x", "mask", "image"]
BASE = {
    "version": "1.0",
    "truncation": None,
    "padding": None,
    "added_tokens": [],
    "normalizer": {"type": "Lowercase"},
    "pre_tokenizer": {"type": "Whitespace"},
    "post_processor": None,
    "decoder": None,
    "model": {"type": "WordLevel", "vocab": {word: i for i, word in enumerate(WORDS)}, "unk_token": "<unk>"},
}
CLASS = {"tokenizer_class": "PreTrainedTokenizerFast"}


def token(content, **flags):
    return {"content": content, "lstrip": False, "rstrip": False, "single_word": False, "normalized": False, "special": False, **flags}


def added(id, content, **flags):
    return {"id": id, **token(content, **flags)}


def typed(content, **flags):
    return {"__type": "AddedToken", **token(content, **flags)}


MASK = added(12, "<mask>", special=True)
CASES = {
    "roles, of a word of the vocabulary and of a new one": {"config": {"eos_token": "<eos>", "bos_token": "<bos>", "unk_token": "<unk>"}},
    "roles as objects": {"config": {"eos_token": typed("<eos>", lstrip=True), "mask_token": typed("<mask>", rstrip=True)}},
    "a list of additional tokens": {"config": {"additional_special_tokens": ["<x>", "<mask>", "<x>"]}},
    "extra tokens as a list with objects": {"config": {"extra_special_tokens": ["<x>", typed("<mask>", lstrip=True), typed("<Y>", normalized=True)]}},
    "extra tokens with names": {"config": {"extra_special_tokens": {"image_token": "<image>"}}},
    "a token of the model's own": {"config": {"image_token": "<image>", "add_bos_token": True, "eos_token": None}},
    "a decoder whose ids count for their order only": {
        "config": {"added_tokens_decoder": {"40": token("<b>"), "7": token("<A>", normalized=True), "30": token("<mask>", special=True)}},
    },
    "a decoder over tokens of tokenizer.json": {
        "json": {"added_tokens": [MASK]},
        "config": {"added_tokens_decoder": {"12": token("<mask>", lstrip=True)}, "mask_token": "<mask>"},
    },
    "a role for a plain token of tokenizer.json": {"json": {"added_tokens": [added(12, "<mask>")]}, "config": {"mask_token": "<mask>"}},
    "a role for a plain token of tokenizer.json, beside a decoder": {
        "json": {"added_tokens": [added(12, "<mask>")]},
        "config": {"mask_token": "<mask>", "added_tokens_decoder": {}},
    },
    "a special token that the decoder calls plain": {
        "json": {"added_tokens": [MASK]},
        "config": {"added_tokens_decoder": {"12": token("<mask>")}},
    },
    "the padding of tokenizer.json": {
        "json": {"padding": {"strategy": "BatchLongest", "direction": "Right", "pad_to_multiple_of": None, "pad_id": 9, "pad_type_id": 0, "pad_token": "<pad>"}},
        "config": {},
    },
    "a map of special tokens, over the config": {
        "config": {"eos_token": "<x>"},
        "map": {"eos_token": "<eos>", "mask_token": token("<mask>", lstrip=True), "additional_special_tokens": ["<y>"]},
    },
    "a map of special tokens beside a decoder": {"config": {"added_tokens_decoder": {}}, "map": {"eos_token": "<eos>"}},
    "a file of added tokens": {"config": {"eos_token": "<eos>"}, "added": {"<eos>": 20, "<Y>": 13, "<mask>": 19}},
    "a file of added tokens beside a decoder": {"config": {"added_tokens_decoder": {}}, "added": {"<mask>": 19}},
    "everything at once": {
        "json": {"added_tokens": [MASK, added(15, "<late>")]},
        "config": {"pad_token": "<pad>", "image_token": "<image>", "additional_special_tokens": ["<x>", "<late>"]},
        "map": {"eos_token": "<eos>"},
        "added": {"<w>": 14, "<pad>": 13},
    },
}
TEXTS = ["hello <eos> world", "a <mask> <x> a", "<bos> <image> <pad> <y> <Y>", "<b> <A> <a> <late> <w> Hello"]


def folder_of(case, folder: Path):
    files = {
        "tokenizer.json": {**BASE, **case.get("json", {})},
        "tokenizer_config.json": {**CLASS, **case["config"]},
        "special_tokens_map.json": case.get("map"),
        "added_tokens.json": case.get("added"),
    }
    for name, content in files.items():
        if content is not None:
            (folder / name).write_text(json.dumps(content))


def answers(case):
    with tempfile.TemporaryDirectory() as name:
        folder_of(case, Path(name))
        tokenizer = AutoTokenizer.from_pretrained(name)
    rows = []
    for text in TEXTS:
        ids = tokenizer(text)["input_ids"]
        rows.append(
            {
                "ids": ids,
                "split": tokenizer(text, split_special_tokens=True)["input_ids"],
                "decoded": tokenizer.decode(ids),
                "skipped": tokenizer.decode(ids, skip_special_tokens=True),
            }
        )
    return {"size": len(tokenizer), "eos": tokenizer.eos_token, "pad": tokenizer.pad_token, "rows": rows}


def main():
    cases = [{"name": name, **case, "expected": answers(case)} for name, case in CASES.items()]
    golden = {
        "madeBy": "python reference/named_tokens.py",
        "versions": {"python": platform.python_version(), "tokenizers": tokenizers.__version__, "transformers": transformers.__version__},
        "base": BASE,
        "texts": TEXTS,
        "cases": cases,
    }
    path = Path(__file__).parent / "golden" / "named-tokens.json"
    lines = ",\n".join(json.dumps(case, ensure_ascii=False) for case in cases)
    head = json.dumps({**golden, "cases": []}, ensure_ascii=False)
    path.write_text(head.replace('"cases": []}', f'"cases": [\n{lines}\n]}}') + "\n")


main()
