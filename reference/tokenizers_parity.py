"""Ids, offsets and texts that Hugging Face's Rust tokenizers give, and what its trainers learn -> golden/tokenizers.json.

The tokenizers are trained here (by TypeScript), one for each preset, and opened by Python's tokenizers and transformers; the corpora
are a megabyte each of English, Chinese, code and random Unicode. Of the ids only hashes are kept. For the trainers: hashes of the
merges that Rust learns from the same text, and how long the text is in tokens of Rust's WordPiece and Unigram.

Setup: pip install tokenizers transformers. Run: python reference/tokenizers_parity.py
"""

import hashlib
import json
import platform
import subprocess
import tempfile
from pathlib import Path

import tokenizers
import transformers
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import AutoTokenizer

ROOT = Path(__file__).parent.parent
CORPORA = ["english", "chinese", "code", "unicode"]
LINES = [
    "",
    " ",
    "Hello, world!  Don't   stop:\t1,234.56\r\n\n  done ",
    "caf\u00e9 cafe\u0301 \u1e9b\u0323 \ufb01ne \u2460\u2461 \uff21\uff22\uff23 \u00bd",
    "\u4f60\u597d\uff0c\u4e16\u754c\u3002\u6211\u4eec\u5728\u5317\u4eac 2024 \u5e74\u89c1\u3002",
    "\U0001f600\U0001f468\u200d\U0001f469\u200d\U0001f467 flags \U0001f1e9\U0001f1ea mixed\u200btext",
    "\u0130stanbul \u00c0\u00c9\u00ce stra\u00dfe \u03a3\u039f\u03a6\u039f\u03a3 \u0421\u043b\u043e\u0432\u043e",
    "def f(x):\n    return x ** 2  # comment\n\n\nclass A: pass",
    "<|endoftext|><|im_start|>user\n[MASK] <think> </s> <extra_id_0>",
]


def sha256(value: object) -> str:
    return hashlib.sha256(json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()).hexdigest()


def compared(folder: Path, texts: dict[str, str]) -> dict:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    auto = AutoTokenizer.from_pretrained(str(folder))
    for line in LINES:
        for special in (True, False):
            ids = tokenizer.encode(line, add_special_tokens=special).ids
            assert auto(line, add_special_tokens=special)["input_ids"] == ids, (folder.name, line)
    corpora = {}
    for name, text in texts.items():
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        corpora[name] = {"tokens": len(ids), "ids": sha256(ids), "text": sha256(tokenizer.decode(ids, skip_special_tokens=False))}
    lines = []
    for line in LINES:
        one = tokenizer.encode(line)
        pair = tokenizer.encode(line, LINES[2])
        lines.append(
            {
                "text": line,
                "ids": one.ids,
                "offsets": [list(offsets) for offsets in one.offsets],
                "decoded": tokenizer.decode(one.ids, skip_special_tokens=True),
                "pair": {"ids": pair.ids, "typeIds": pair.type_ids, "specialTokensMask": pair.special_tokens_mask},
            }
        )
    return {"tokenizer": sha256(json.loads((folder / "tokenizer.json").read_text())["model"]), "corpora": corpora, "lines": lines}


def trained_by_rust(text: str) -> dict:
    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.train_from_iterator(
        [text],
        trainers.BpeTrainer(vocab_size=6000, initial_alphabet=pre_tokenizers.ByteLevel.alphabet(), show_progress=False),
    )
    merges = [" ".join(pair) for pair in json.loads(bpe.to_str())["model"]["merges"]]

    wordpiece = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    wordpiece.normalizer = normalizers.BertNormalizer()
    wordpiece.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    wordpiece.train_from_iterator([text], trainers.WordPieceTrainer(vocab_size=9000, special_tokens=special, show_progress=False))

    unigram = Tokenizer(models.Unigram())
    spaces = normalizers.Replace(Regex(" {2,}"), " ")
    unigram.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), spaces])
    unigram.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    unigram.train_from_iterator(
        [text], trainers.UnigramTrainer(vocab_size=8900, special_tokens=special, unk_token="<unk>", show_progress=False)
    )
    return {
        "bpe": {"vocabSize": 6000, "merges": len(merges), "sha256": sha256(merges)},
        "wordpiece": {"vocabSize": 9000, "tokens": len(wordpiece.encode(text, add_special_tokens=False).ids)},
        "unigram": {"vocabSize": 8900, "tokens": len(unigram.encode(text, add_special_tokens=False).ids)},
    }


with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    node = ["node", "--import", "./scripts/typescript-loader.mjs", "-C", "tsumiki-source"]
    subprocess.run([*node, "src/tokenizer/testing/write-parity.ts", name], cwd=ROOT, check=True)
    read = lambda path: path.read_bytes().decode()  # noqa: E731 (read_text would translate line ends)
    texts = {corpus: read(folder / f"{corpus}.txt") for corpus in CORPORA}
    golden = {
        "madeBy": "python reference/tokenizers_parity.py",
        "versions": {
            "python": platform.python_version(),
            "tokenizers": tokenizers.__version__,
            "transformers": transformers.__version__,
        },
        "corpora": {corpus: hashlib.sha256(text.encode()).hexdigest() for corpus, text in texts.items()},
        "tokenizers": {
            path.parent.name: compared(path.parent, texts) for path in sorted(folder.glob("*/tokenizer.json"))
        },
        "trainers": trained_by_rust(read(folder / "training.txt")),
    }
(ROOT / "reference" / "golden" / "tokenizers.json").write_text(json.dumps(golden, ensure_ascii=True) + "\n")
