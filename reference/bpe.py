"""Merges that Hugging Face's Rust trainer learns -> golden/bpe.json.

Each case is a text, the options and the merges in order; "LICENSE" is the file in the repository's root. The second text has
characters of one to four bytes, the third has nothing but ties.

Setup: pip install tokenizers. Run: python reference/bpe.py
"""

import json
import platform
from pathlib import Path

import tokenizers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

ROOT = Path(__file__).parent.parent
LANGUAGES = (
    "Die Katze saß auf der Matte; die Mäuse saßen daneben.\nLe chat était assis sur le tapis, n'est-ce pas ?\n"
    "猫がマットの上に座っていた。猫は座っている。\r\nКошка сидела на коврике, кошка спит.\tΗ γάτα κάθισε στο χαλί.\n"
    "🐈🐈 sat 12 times, 3 cats' mats, we'll see: they've 1,024   mats…  👩‍👩‍👧\u0085x\ufeffy\n\n"
)
TIES = "zy xw vu ts rq po nm lk ji hg fe dc ba abab aaaa aaaaa babab"


def learned(text: str, vocabulary: int, special: list[str]) -> dict:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([text], trainer)
    trained = json.loads(tokenizer.to_str())
    return {
        "vocabSize": vocabulary,
        "specialTokens": special,
        "tokens": len(trained["model"]["vocab"]),
        "merges": [" ".join(pair) for pair in trained["model"]["merges"]],
        "ids": tokenizer.encode(text, add_special_tokens=False).ids[:200],
    }


license_text = (ROOT / "LICENSE").read_text()
golden = {
    "madeBy": "python reference/bpe.py",
    "versions": {"python": platform.python_version(), "tokenizers": tokenizers.__version__},
    "cases": {
        "LICENSE": {"text": "LICENSE", **learned(license_text, 600, ["<|endoftext|>"])},
        "languages": {"text": LANGUAGES, **learned(LANGUAGES, 330, [])},
        "ties": {"text": TIES, **learned(TIES, 1000, [])},
    },
}
(ROOT / "reference" / "golden" / "bpe.json").write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n")
