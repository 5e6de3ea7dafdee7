"""Data files as other programs write them -> golden/data/: Parquet with nested columns in two row groups, zstd in two frames.

Setup: pip install pyarrow zstandard. Run: python reference/data.py
"""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import zstandard

FOLDER = Path(__file__).parent / "golden" / "data"


def rows() -> list[dict]:
    """What the files hold, which the tests make again."""
    return [
        {
            "id": i,
            "messages": [
                {"role": "user", "content": f"Was ist {i} + {i}? 多少?"},
                {"role": "assistant", "content": f"{2 * i} 🐳"},
            ],
        }
        for i in range(25)
    ]


def main() -> None:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for compression in ["snappy", "zstd", "gzip", "brotli", "none"]:
        pq.write_table(pa.Table.from_pylist(rows()), FOLDER / f"{compression}.parquet", compression=compression, row_group_size=10)
    lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows()]
    compressor = zstandard.ZstdCompressor(level=19, write_checksum=True)
    frames = [compressor.compress("".join(part).encode()) for part in (lines[:12], lines[12:])]
    (FOLDER / "chats.jsonl.zst").write_bytes(b"".join(frames))


main()
