"""Oniguruma's Unicode properties, as Hugging Face's Rust tokenizers carry them -> src/tokenizer/oniguruma/property-tables.ts.

Oniguruma is asked for each code point, so that patterns mean the same in every version of Node and in every browser, whatever Unicode
their own regular expressions know. Classes that follow from the general categories are checked here and not written down.

Setup: pip install tokenizers. Run: python reference/oniguruma_properties.py
"""

from pathlib import Path

import tokenizers
from tokenizers import Regex, pre_tokenizers

ROOT = Path(__file__).parent.parent
DIGITS = "0123456789abcdefghijklmnopqrstuvwxyz"
CODES = [code for code in range(0x110000) if not 0xD800 <= code < 0xE000]
TEXT = "".join(map(chr, CODES))
CATEGORIES = "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co".split()
SCRIPTS = "Latin Greek Cyrillic Armenian Hebrew Arabic Devanagari Bengali Tamil Telugu Thai Georgian Hangul Ethiopic Khmer Hiragana Katakana Bopomofo Han".split()


def base36(number: int) -> str:
    text = ""
    while True:
        number, digit = divmod(number, 36)
        text = DIGITS[digit] + text
        if number == 0:
            return text


def matching(pattern: str) -> set[int]:
    pieces = pre_tokenizers.Split(Regex(f"(?:{pattern})+"), "removed", invert=True).pre_tokenize_str(TEXT)
    return {CODES[i] for _, (start, end) in pieces for i in range(start, end)}


def ranges(members: set[int]) -> str:
    """Gap to the range before and length, alternating, in base 36."""
    numbers, end, start = [], 0, None
    for code in sorted(members) + [0x110001]:
        if start is not None and code == last + 1:
            last = code
            continue
        if start is not None:
            numbers += [start - end, last + 1 - start]
            end = last + 1
        start = last = code
    return " ".join(map(base36, numbers))


def main() -> None:
    categories = {name: matching(rf"\p{{{name}}}") for name in CATEGORIES}
    category_of = {code: i for i, name in enumerate(CATEGORIES) for code in categories[name]}
    assert len(category_of) == sum(map(len, categories.values()))
    unassigned = len(CATEGORIES)
    # Surrogates are no characters: they count as unassigned.
    runs: list[list[int]] = []
    for code in range(0x110000):
        category = category_of.get(code, unassigned)
        if runs and runs[-1][0] == category:
            runs[-1][1] += 1
        else:
            runs.append([category, 1])

    derived = {name: matching(rf"\p{{{name}}}") for name in ("Alphabetic", "Uppercase", "Lowercase", "White_Space")}
    union = lambda *names: set().union(*(members for name, members in categories.items() if name.startswith(names)))
    ascii_ = set(range(128))
    expected = {
        r"\w": derived["Alphabetic"] | union("M", "Nd", "Pc"),
        r"\d": union("Nd"),
        r"\s": derived["White_Space"],
        r"\h": set(map(ord, "0123456789abcdefABCDEF")),
        r"[[:alpha:]]": derived["Alphabetic"],
        r"[[:digit:]]": union("Nd"),
        r"[[:alnum:]]": derived["Alphabetic"] | union("Nd"),
        r"[[:upper:]]": derived["Uppercase"],
        r"[[:lower:]]": derived["Lowercase"],
        r"[[:space:]]": derived["White_Space"],
        r"[[:blank:]]": union("Zs") | {9},
        r"[[:cntrl:]]": union("Cc"),
        r"[[:punct:]]": union("P", "S"),
        r"[[:xdigit:]]": set(map(ord, "0123456789abcdefABCDEF")),
        r"[[:word:]]": derived["Alphabetic"] | union("M", "Nd", "Pc"),
        r"[[:ascii:]]": ascii_,
        r"[[:graph:]]": set(category_of) - derived["White_Space"] - union("Cc"),
        r"[[:print:]]": (set(category_of) - derived["White_Space"] - union("Cc")) | union("Zs"),
        r"\p{L}": union("L"),
        r"\p{P}": union("P"),
        r"\p{C}": (set(CODES) - set(category_of)) | union("C"),
        r"\p{Cn}": set(CODES) - set(category_of),
        r"\p{Any}": set(CODES),
        r"\p{Assigned}": set(category_of),
        r"\p{LC}": union("Lu", "Ll", "Lt"),
    }
    for pattern, members in expected.items():
        try:
            found = matching(pattern)
        except Exception as error:  # noqa: BLE001
            print(pattern, error)
            continue
        if found != members:
            print(pattern, "also", [hex(c) for c in sorted(found - members)[:20]], len(found - members), "not", [hex(c) for c in sorted(members - found)[:20]], len(members - found))

    tables = {name[0].lower() + name[1:].replace("_", ""): (f"\\p{{{name}}}.", ranges(members)) for name, members in derived.items()}
    lines = [
        "/**",
        f" * Properties of characters as Oniguruma has them in Hugging Face's Rust tokenizers {tokenizers.__version__}; made by",
        " * reference/oniguruma_properties.py.",
        " *",
        " * Ranges of code points: the gap to the range before and the length, alternating, in base 36.",
        " */",
        "",
        "/** General categories in the order of `categoryRuns`; the one after them is Cn. */",
        f"export const categoryNames = {str(CATEGORIES).replace(chr(39), chr(34))} as const;",
        "",
        "/** All code points in order: a category, as a character from a on, and how many have it in base 36. */",
        "export const categoryRuns =",
        '  "' + " ".join(chr(97 + category) + base36(length) for category, length in runs) + '";',
    ]
    for name, (comment, text) in tables.items():
        lines += ["", f"/** {comment} */", f"export const {name} =", f'  "{text}";']
    lines += ["", "/** Scripts that tokenizers ask for. */", "export const scripts: Readonly<Record<string, string>> = {"]
    for name in SCRIPTS:
        lines += [f"  {name}:", f'    "{ranges(matching(rf"{chr(92)}p{{{name}}}"))}",']
    lines += ["};"]
    (ROOT / "src/tokenizer/oniguruma/property-tables.ts").write_text("\n".join(lines) + "\n")


main()
