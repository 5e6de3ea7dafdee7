"""Writes mixed.safetensors with the reference implementation: every dtype, an empty tensor, a scalar, a name beyond ASCII.

Run: pip install safetensors, then python make_safetensors.py in this folder. Made with safetensors 0.8.0.
"""

import ctypes
import struct

from safetensors import TensorSpec, serialize_file

tensors = {
    "u64": ("uint64", [2], struct.pack("<2Q", 0, 2**64 - 1)),
    "i64": ("int64", [2], struct.pack("<2q", -(2**63), 2**63 - 1)),
    "f64": ("float64", [1, 2], struct.pack("<2d", 0.1, -1e300)),
    "f32": ("float32", [2, 3], struct.pack("<6f", 0, 1, -2.5, 1e-38, 3e38, 0.1)),
    "u32": ("uint32", [1], struct.pack("<I", 2**32 - 1)),
    "i32": ("int32", [3], struct.pack("<3i", -(2**31), 0, 2**31 - 1)),
    "bf16": ("bfloat16", [3], struct.pack("<3H", 0x3F80, 0xC020, 0x7F80)),
    "f16": ("float16", [3], struct.pack("<3e", 1, -2.5, 65504)),
    "u16": ("uint16", [1], struct.pack("<H", 65535)),
    "i16": ("int16", [1], struct.pack("<h", -32768)),
    "i8": ("int8", [3], struct.pack("<3b", -128, 0, 127)),
    "u8": ("uint8", [3], bytes([0, 127, 255])),
    "bool": ("bool", [2, 2], bytes([1, 0, 0, 1])),
    "layers.10.weight": ("float32", [], struct.pack("<f", 10)),
    "layers.9.weight": ("float32", [1], struct.pack("<f", 9)),
    "empty": ("float32", [0, 4], b""),
    "積み木 \"quoted\"\t\U0001f9f1": ("uint8", [1], b"\x07"),
    "\uffee": ("uint8", [1], b"\x08"),
}

buffers = {name: ctypes.create_string_buffer(data, max(len(data), 1)) for name, (_, _, data) in tensors.items()}

serialize_file(
    {
        name: TensorSpec(dtype=dtype, shape=shape, data_ptr=ctypes.addressof(buffers[name]), data_len=len(data))
        for name, (dtype, shape, data) in tensors.items()
    },
    "mixed.safetensors",
    {"format": "pt"},
)
