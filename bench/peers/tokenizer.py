"""Rust's tokenizers, called from Python, for the bench `tokenizer`: see tokenizer.ts, which does the same with Tsumiki's.

The trainers and the encoder use all threads that RAYON_NUM_THREADS allows; `encode_batch_fast` computes no offsets.
"""

import json
import os
import sys
import time

task = json.loads(sys.argv[1])
os.environ["RAYON_NUM_THREADS"] = str(task["threads"])
os.environ["TOKENIZERS_PARALLELISM"] = "true"

try:
    import tokenizers
    from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers
except ImportError:
    print(json.dumps({"absent": "the Python of TSUMIKI_PYTHON has no tokenizers: pip install tokenizers"}))
    sys.exit()

with open(task["documents"], encoding="utf-8", newline="") as file:
    documents = json.load(file)
size = sum(len(text.encode()) for text in documents)


def untrained(model: str, vocabulary: int):
    if model == "bpe":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        return tokenizer, trainers.BpeTrainer(vocab_size=vocabulary, initial_alphabet=alphabet, show_progress=False)
    if model == "wordpiece":
        tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
        tokenizer.normalizer = normalizers.BertNormalizer()
        tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
        special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
        return tokenizer, trainers.WordPieceTrainer(vocab_size=vocabulary, special_tokens=special, show_progress=False)
    tokenizer = Tokenizer(models.Unigram())
    spaces = normalizers.Replace(Regex(" {2,}"), " ")
    tokenizer.normalizer = normalizers.Sequence([normalizers.Nmt(), normalizers.NFKC(), spaces])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<pad>", "</s>", "<unk>"]
    return tokenizer, trainers.UnigramTrainer(
        vocab_size=vocabulary, special_tokens=special, unk_token="<unk>", show_progress=False
    )


train_seconds = 0.0
if "tokenizer" in task:
    tokenizer = Tokenizer.from_file(task["tokenizer"])
else:
    tokenizer, trainer = untrained(task["model"], task["vocabSize"])
    started = time.perf_counter()
    tokenizer.train_from_iterator(documents, trainer)
    train_seconds = time.perf_counter() - started
    tokenizer.save(task["save"])
started = time.perf_counter()
encoded = tokenizer.encode_batch_fast(documents, add_special_tokens=False)
encode_seconds = time.perf_counter() - started
with open("/proc/self/status") as file:
    peak = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM"))
print(
    json.dumps(
        {
            "trainSeconds": train_seconds,
            "encodeMegabytesPerSecond": size / 1e6 / encode_seconds,
            "tokens": sum(len(one.ids) for one in encoded),
            "peakMemoryBytes": peak,
            "version": f"tokenizers {tokenizers.__version__} on Python {sys.version.split()[0]}",
        }
    )
)
