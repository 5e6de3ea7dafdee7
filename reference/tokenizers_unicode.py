"""The classes of characters that Hugging Face's Rust tokenizers tell apart -> src/tokenizer/text/unicode-tables.ts.

Its crates carry tables of several ages of Unicode (punctuation of 8.0, Oniguruma's letters of 16.0, ...). They are asked for each
code point, so that the same text is cut into the same pieces in every version of Node and in every browser.

Setup: pip install tokenizers. Run: python reference/tokenizers_unicode.py
"""

from pathlib import Path

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

ROOT = Path(__file__).parent.parent
CHARACTERS = [chr(code) for code in range(0x110000) if not 0xD800 <= code < 0xE000]
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"


def base36(number: int) -> str:
    text = ""
    while True:
        number, digit = divmod(number, 36)
        text = DIGITS[digit] + text
        if number == 0:
            return text


def ranges(members: list[str]) -> str:
    """Gap to the range before and length, alternating, in base 36."""
    found: list[list[int]] = []
    for code in map(ord, members):
        if found and found[-1][1] == code:
            found[-1][1] = code + 1
        else:
            found.append([code, code + 1])
    numbers, end = [], 0
    for start, stop in found:
        numbers += [start - end, stop - start]
        end = stop
    return " ".join(map(base36, numbers))


def matching(pattern: str) -> list[str]:
    split = pre_tokenizers.Split(Regex(pattern), "removed")
    return [c for c in CHARACTERS if not split.pre_tokenize_str(c)]


def cut_off_by(pre_tokenizer: pre_tokenizers.PreTokenizer) -> list[str]:
    return [c for c in CHARACTERS if len(pre_tokenizer.pre_tokenize_str("a" + c)) == 2]


def in_words() -> list[str]:
    """What the regex crate's \\w matches."""
    whitespace = pre_tokenizers.Whitespace()
    return [c for c in CHARACTERS if whitespace.pre_tokenize_str("a" + c)[0][0] == "a" + c]


def bert(**options: bool) -> normalizers.BertNormalizer:
    off = {"clean_text": False, "handle_chinese_chars": False, "strip_accents": False, "lowercase": False}
    return normalizers.BertNormalizer(**{**off, **options})


def removed_by(normalizer: normalizers.Normalizer) -> list[str]:
    return [c for c in CHARACTERS if normalizer.normalize_str(c) == ""]


def nonspacing() -> list[str]:
    strip, nfd = bert(strip_accents=True), normalizers.NFD()
    return [c for c in CHARACTERS if strip.normalize_str(c) == "" and nfd.normalize_str(c) == c]


def unknown_to_normalization() -> list[str]:
    """Characters that have become decomposable or combining since the crate's tables were made: against Python's newer ones."""
    import unicodedata2 as newer  # Unicode 16 and later, from PyPI

    found = []
    forms = {name: getattr(normalizers, name)() for name in ("NFC", "NFD", "NFKC", "NFKD")}
    for c in CHARACTERS:
        probes = [c, "a" + c + "\u0334", "a\u0345" + c, "a\u0315" + c + "\u0300"] if newer.combining(c) else [c]
        if any(form.normalize_str(p) != newer.normalize(name, p) for name, form in forms.items() for p in probes):
            found.append(c)
    return found


tables = {
    "letters": ("Oniguruma's \\p{L}.", matching(r"\p{L}")),
    "numbers": ("Oniguruma's \\p{N}.", matching(r"\p{N}")),
    "wordCharacters": ("\\w of the regex crate.", in_words()),
    "punctuation": ("What BertPreTokenizer and Punctuation cut off.", cut_off_by(pre_tokenizers.BertPreTokenizer())),
    "removedByCleaning": ("What BertNormalizer's clean_text removes.", removed_by(bert(clean_text=True))),
    "nonspacingMarks": ("What BertNormalizer's strip_accents removes from decomposed text.", nonspacing()),
    "combiningMarks": ("What StripAccents removes.", removed_by(normalizers.StripAccents())),
    "unknownToNormalization": (
        "What NFC, NFD, NFKC and NFKD leave alone though newer versions of Unicode do not.",
        unknown_to_normalization(),
    ),
}
lines = [
    "/**",
    f" * Classes of characters as in Hugging Face's Rust tokenizers {tokenizers.__version__}; made by reference/tokenizers_unicode.py.",
    " *",
    " * Ranges of code points: the gap to the range before and the length, alternating, in base 36.",
    " */",
]
for name, (comment, members) in tables.items():
    lines += ["", f"/** {comment} */", f"export const {name} =", f'  "{ranges(members)}";']
(ROOT / "src/tokenizer/text/unicode-tables.ts").write_text("\n".join(lines) + "\n")
