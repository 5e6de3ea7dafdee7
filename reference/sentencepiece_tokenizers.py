"""Tokenizers as Llama 2, Gemma and T5 have them: trained by SentencePiece, brought to tokenizer.json by transformers, with their ids.

Setup and run, in a folder outside the repository for the environment:
  python3 -m venv <folder> && <folder>/bin/pip install "transformers==4.57.3" sentencepiece tokenizers protobuf
  <folder>/bin/python reference/sentencepiece_tokenizers.py
"""

import io
import json
import platform
import tempfile
from importlib.metadata import version
from pathlib import Path

import sentencepiece
from transformers import GemmaTokenizerFast, LlamaTokenizerFast, T5TokenizerFast

PATH = Path(__file__).parent / "golden" / "sentencepiece-tokenizers.json"

STORY = """Call me Ishmael. Some years ago, never mind how long precisely, having little or no money in my purse, and nothing
particular to interest me on shore, I thought I would sail about a little and see the watery part of the world. It is a way I have
of driving off the spleen and regulating the circulation. Whenever I find myself growing grim about the mouth; whenever it is a
damp, drizzly November in my soul; whenever I find myself involuntarily pausing before coffin warehouses, and bringing up the rear
of every funeral I meet; and especially whenever my hypos get such an upper hand of me, that it requires a strong moral principle
to prevent me from deliberately stepping into the street, and methodically knocking people's hats off, then, I account it high time
to get to sea as soon as I can. This is my substitute for pistol and ball."""

TEXTS = [
    "I thought I would sail about a little",
    "whenever  two   spaces",
    " leading and trailing ",
    "caf\u00e9, \u4f60\u597d, \U0001f40b and \ufb01n",
    "lines\nand\ttabs\n\n",
    "12345 67,890.5 don't",
    "",
]

# A few of the rules that SentencePiece's own sets consist of: code points, and what they become.
RULES = {"\t": " ", "\n": " ", "\u00a0": " ", "\u3000": " ", "\ufb01": "fi", "\uff21": "A", "e\u0301": "\u00e9", "\u00ad": ""}


def train(kind: str, **options) -> bytes:
    model = io.BytesIO()
    usual = {"vocab_size": 420, "byte_fallback": True, "remove_extra_whitespaces": False, "normalization_rule_name": "identity"}
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(STORY.split("\n")),
        model_writer=model,
        model_type=kind,
        split_digits=True,
        minloglevel=2,
        **(usual | options),
    )
    return model.getvalue()


def describe(fast, data: bytes, folder: Path, **options) -> dict:
    path = folder / "tokenizer.model"
    path.write_bytes(data)
    tokenizer = fast(vocab_file=str(path), **options)
    pieces = sentencepiece.SentencePieceProcessor(model_proto=data)
    return {
        "tokenizer": json.loads(tokenizer.backend_tokenizer.to_str()),
        "ids": [tokenizer.encode(text, add_special_tokens=False) for text in TEXTS],
        "sentencepieceIds": [pieces.encode(text) for text in TEXTS],
    }


gemma_ids = {"pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3, "bos_piece": "<bos>", "eos_piece": "<eos>"}
t5_ids = {"pad_id": 0, "eos_id": 1, "unk_id": 2, "bos_id": -1}
with tempfile.TemporaryDirectory() as name:
    rules = Path(name) / "rules.tsv"
    code_points = lambda text: " ".join(f"{ord(character):X}" for character in text)
    rules.write_text("".join(f"{code_points(text)}\t{code_points(result)}\n" for text, result in RULES.items()))
    unigram = {"vocab_size": 140, "byte_fallback": False, "remove_extra_whitespaces": True, "normalization_rule_tsv": str(rules)}
    tokenizers = {
        "llama": describe(LlamaTokenizerFast, train("bpe"), Path(name), add_prefix_space=True),
        "gemma": describe(GemmaTokenizerFast, train("bpe", add_dummy_prefix=False, **gemma_ids), Path(name)),
        "t5": describe(T5TokenizerFast, train("unigram", **unigram, **t5_ids), Path(name), extra_ids=2, add_prefix_space=True),
    }

versions = {"python": platform.python_version()} | {name: version(name) for name in ("sentencepiece", "tokenizers", "transformers")}
golden = {"madeBy": "python reference/sentencepiece_tokenizers.py", "versions": versions, "texts": TEXTS, "tokenizers": tokenizers}
PATH.write_text(json.dumps(golden) + "\n")
