"""PyTorch's file formats written opcode by opcode, so that checkpoints, hostile ones too, can be made without PyTorch."""

import io
import pickle
import struct
import zipfile

import numpy as np

from fromagerie.export.checkpoint import MAGIC, PROTOCOL

KINDS = {"f4": "FloatStorage", "f2": "HalfStorage", "i8": "LongStorage", "u2": "BFloat16Storage"}


def string(value):
    return b"X" + struct.pack("<I", len(value)) + value.encode()


def number(value):
    return b"J" + struct.pack("<i", value)


def numbers(values):
    return b"(" + b"".join(map(number, values)) + b"t"


def tensor(key, array, offset=0, shape=None, strides=None, count=None, rebuild="torch._utils\n_rebuild_tensor_v2"):
    kind = KINDS[array.dtype.str[1:]]
    storage = b"(" + string("storage") + f"ctorch\n{kind}\n".encode() + string(key) + string("cpu")
    storage += number(array.size if count is None else count) + b"tQ"
    shape = array.shape if shape is None else shape
    strides = [stride // array.itemsize for stride in array.strides] if strides is None else strides
    arguments = storage + number(offset) + numbers(shape) + numbers(strides) + b"\x89ccollections\nOrderedDict\n)R"
    return f"c{rebuild}\n".encode() + b"(" + arguments + b"tR"


def pickled(entries):
    return b"\x80\x02ccollections\nOrderedDict\n)R" + b"".join(string(k) + v + b"s" for k, v in entries.items()) + b"."


def stream(entries, storages):
    head = [pickle.dumps(value, 2) for value in (MAGIC, PROTOCOL, {"little_endian": True})]
    tail = b"".join(struct.pack("<q", array.size) + array.tobytes() for _, array in sorted(storages.items()))
    return b"".join(head) + pickled(entries) + pickle.dumps(sorted(storages), 2) + tail


def zipped(entries, storages):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("m/data.pkl", pickled(entries))
        archive.writestr("m/version", "3\n")
        for key, array in storages.items():
            archive.writestr(f"m/data/{key}", array.tobytes())
    return file.getvalue()


def state_dict(tensors, wrap=None):
    """The zip that `torch.save(tensors)` makes; `wrap`: a key that the dictionary lies under, as in a training checkpoint."""
    storages = {str(i): np.array(array, order="C") for i, array in enumerate(tensors.values())}
    entries = {name: tensor(str(i), storages[str(i)], shape=a.shape) for i, (name, a) in enumerate(tensors.items())}
    if wrap:
        inner = pickled(entries)[2:-1]
        entries = {"epoch": number(3), wrap: inner}
    return zipped(entries, storages)
