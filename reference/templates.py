"""What Python's transformers renders from chat templates -> src/chat/golden/templates.json.

Conversations, each rendered by the templates of src/chat/templates.ts: the text and the assistant's parts of it
[UTF-16 units], or that the template throws. Some are encoded as well, with the mask of the assistant's tokens, by two small tokenizers. Where a published template has the same format as one of ours, this script checks that
transformers renders both to the same text.

Setup: pip install transformers jinja2 tokenizers; pip download --no-deps trl==1.16.0
Run: python reference/templates.py trl-1.16.0-py3-none-any.whl
"""

import json
import platform
import subprocess
import sys
import zipfile
from pathlib import Path

import jinja2
import tokenizers
import transformers
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers.utils.chat_template_utils import render_jinja_template

ROOT = Path(__file__).parent.parent
WHEEL = Path(sys.argv[1])
SAME_FORMAT = {"llama3": "llama3", "gemma": "gemma", "qwen3": "qwen3"}
TOKENS = {"bos_token": "<s>", "eos_token": "</s>"}

WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "description": 'The weather <now> & "later", in °C',
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}, "days": {"type": "integer"}}, "required": ["city"]},
    },
}


def call(name: str, arguments: object, identifier: str) -> dict:
    return {"id": identifier, "type": "function", "function": {"name": name, "arguments": arguments}}


def said(role: str, content: object, **more: object) -> dict:
    return {"role": role, "content": content, **more}


CONVERSATIONS = {
    "two turns": {
        "messages": [
            said("user", " Hello \n"),
            said("assistant", "Hi there! 你好 🐋\n"),
            said("user", "How are you?"),
            said("assistant", "Fine."),
        ]
    },
    "system and thoughts": {
        "messages": [
            said("system", "Be brief."),
            said("user", "2+2?"),
            said("assistant", "4", reasoning_content="Two and two are four.\n"),
            said("user", "3+3?"),
            said("assistant", "6", reasoning_content="\nThat is six."),
        ]
    },
    "thoughts in the content": {
        "messages": [
            said("user", "Hi"),
            said("assistant", "<think>\nhm\n</think>\n\nHello"),
            said("user", "More"),
            said("assistant", "<think>\nwell\n</think>\n\nMore of it"),
        ]
    },
    "a tool": {
        "messages": [
            said("system", "Use tools."),
            said("user", "The weather in Paris?"),
            said(
                "assistant",
                "",
                reasoning_content="I have to look.",
                tool_calls=[
                    call("get_weather", {"city": "Paris", "days": 3, "share": 0.5, "ünit": "°C", "ok": True, "none": None, "list": [1, "a"]}, "call00001")
                ],
            ),
            said("tool", '{"temperature": 21}', name="get_weather", tool_call_id="call00001"),
            said("assistant", "It is 21 °C."),
        ],
        "tools": [WEATHER],
    },
    "two tools at once": {
        "messages": [
            said("user", "Both?"),
            {"role": "assistant", "content": None, "tool_calls": [call("f", '{"a": 1}', "a12345678"), call("g", {}, "b12345678")]},
            said("tool", "1", tool_call_id="a12345678"),
            said("tool", "2", tool_call_id="b12345678"),
            said("assistant", "One and two.", reasoning_content="Done."),
        ],
        "tools": [WEATHER, WEATHER],
    },
    "parts": {
        "messages": [said("user", [{"type": "text", "text": "one "}, {"type": "text", "text": "two"}]), said("assistant", "three")]
    },
    "no thinking": {"messages": [said("user", "Hi"), said("assistant", "Hello"), said("user", "?")], "variables": {"enable_thinking": False}},
    "open thinking": {"messages": [said("user", "Hi"), said("assistant", "Hello"), said("user", "?")], "variables": {"open_thinking": True}},
}

# Small templates where Jinja's rules matter: white space, scopes, what is printed of values, marks inside of loops.
RULES = {
    "white space": "{% generation %}\n a {%- if true -%} \n b \n {%- endif %}\n c {% endgeneration %}\n\nd\n  {# gone #}\n e\n",
    "marks that are text": "{# {% generation %} #} {{ '%} }} {#' }}{%- generation -%} x {{ '}}' }} {%- endgeneration -%} y",
    "variables of a round": "{% for m in messages %}{% if loop.first %}{% set first = m.role %}{% endif %}[{{ first }}]{% endfor %}",
    "marks in loops": "{% for m in messages %}{% generation %}{% for c in [1, 2] %}{{ c }}{% endfor %}{% endgeneration %}-{% endfor %}",
    "break keeps what was written": "{% for m in messages %}{{ loop.index }}{% if loop.index == 2 %}{% break %}{% endif %},{% endfor %}",
    "values": "{{ none }} {{ true }} {{ [1, 'it\\'s', none, 2.5, {'a': 'b'}] }} {{ missing }} {{ 3 ~ 'x' ~ none }} {{ [1] | string }}",
    "values in a macro": "{% macro show(x) %}<{{ x }}>{% endmacro %}{{ show(none) }}{{ show(false) }}{{ show([1]) }}",
    "what is set in a mark": "{% set x = 1 %}{% generation %}{% set x = 2 %}{{ x }}{% endgeneration %}{{ x }}",
    "strip": "{{ '\\u0085\\u00a0 a \\ufeff' | trim }}|",
    "text and list": "{{ 'a' + messages }}",
    "refused": "{{ raise_exception('no: ' + messages[0].role) }}",
    "range": "{% for i in range(3) %}{{ i }}{% endfor %}{% for i in range(4, 0, -2) %}{{ i }}{% endfor %}",
    "filter block": "{% filter upper %}a{% generation %}b{% endgeneration %}{% endfilter %}",
}


def utf16(text: str, place: int) -> int:
    return len(text[:place].encode("utf-16-le")) // 2


def rendered(source: str, conversation: dict, prompt: bool) -> dict:
    try:
        texts, spans = render_jinja_template(
            [conversation["messages"]],
            tools=conversation.get("tools"),
            chat_template=source,
            return_assistant_tokens_mask=True,
            add_generation_prompt=prompt,
            **TOKENS,
            **conversation.get("variables", {}),
        )
    except Exception as error:
        return {"throws": f"{type(error).__name__}: {error}"}
    return {"text": texts[0], "spans": [[utf16(texts[0], start), utf16(texts[0], end)] for start, end in spans[0]]}


def renderings(source: str) -> dict:
    return {
        name: {"plain": rendered(source, conversation, False), "prompt": rendered(source, conversation, True)}
        for name, conversation in CONVERSATIONS.items()
    }


def texts_of(result: dict) -> dict:
    return {name: {kind: one.get("text") for kind, one in both.items()} for name, both in result.items()}


def trained(model: str) -> Tokenizer:
    special = ["<|im_start|>", "<|im_end|>", "<unk>"]
    texts = [message["content"] for c in CONVERSATIONS.values() for message in c["messages"] if isinstance(message.get("content"), str)]
    if model == "byte-level":
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        alphabet = pre_tokenizers.ByteLevel.alphabet()
        trainer = trainers.BpeTrainer(vocab_size=300, special_tokens=special, initial_alphabet=alphabet, show_progress=False)
    else:
        tokenizer = Tokenizer(models.Unigram())
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
        tokenizer.decoder = decoders.Metaspace()
        trainer = trainers.UnigramTrainer(vocab_size=150, special_tokens=special, unk_token="<unk>", show_progress=False)
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def encoded(model: str, source: str) -> dict:
    tokenizer = trained(model)
    fast = transformers.PreTrainedTokenizerFast(tokenizer_object=tokenizer, **TOKENS)
    results = {}
    for name in ["two turns", "system and thoughts", "a tool"]:
        conversation = CONVERSATIONS[name]
        result = fast.apply_chat_template(
            conversation["messages"], tools=conversation.get("tools"), chat_template=source,
            tokenize=True, return_dict=True, return_assistant_tokens_mask=True,
        )
        results[name] = {"ids": result["input_ids"], "assistantMask": result["assistant_masks"]}
    return {"tokenizer": json.loads(tokenizer.to_str()), "encoded": results}


program = "import('./src/chat/templates.ts').then((m) => console.log(JSON.stringify(m.chatTemplates)))"
command = ["node", "--import", "./scripts/typescript-loader.mjs", "-C", "tsumiki-source", "-e", program]
ours = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout)
with zipfile.ZipFile(WHEEL) as wheel:
    published = {name: wheel.read(f"trl/chat_templates/{name}.jinja").decode() for name in set(SAME_FORMAT.values())}

own = {name: renderings(source) for name, source in ours.items()}
for name, other in SAME_FORMAT.items():
    expected = texts_of(renderings(published[other]))
    for case, texts in texts_of(own[name]).items():
        assert texts == expected[case], f"{name} and trl's {other} differ on {case!r}:\n{texts}\n{expected[case]}"

golden = {
    "madeBy": f"python reference/templates.py {WHEEL.name}",
    "versions": {"python": platform.python_version(), "transformers": transformers.__version__, "jinja2": jinja2.__version__, "tokenizers": tokenizers.__version__},
    "variables": TOKENS,
    "conversations": CONVERSATIONS,
    "own": own,
    "masks": {model: encoded(model, ours["qwen3"]) for model in ["byte-level", "unigram"]},
    "rules": {name: {"source": source, **rendered(source, CONVERSATIONS["two turns"], False)} for name, source in RULES.items()},
}
path = ROOT / "src" / "chat" / "golden" / "templates.json"
path.parent.mkdir(exist_ok=True)
path.write_text(json.dumps(golden, ensure_ascii=False, indent=1) + "\n")
print(f"{path.relative_to(ROOT)}: {path.stat().st_size / 1024:.0f} KiB")
