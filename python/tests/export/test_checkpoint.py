"""Goal: checkpoints are read without running anything in them.

Method: pickles are assembled opcode by opcode (so no PyTorch is needed, and hostile ones can be written); PyTorch
itself is the second witness where it is installed.
"""

import io
import os
import pickle
import struct
import zipfile

import numpy as np
import pytest

from fromagerie.export.checkpoint import MAGIC, PROTOCOL, CheckpointError, read_checkpoint

KINDS = {"f4": "FloatStorage", "f2": "HalfStorage", "i8": "LongStorage"}


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
        for key, array in storages.items():
            archive.writestr(f"m/data/{key}", array.tobytes())
    return file.getvalue()


def example():
    a = np.arange(12, dtype="<f4").reshape(3, 4)
    b, c = np.arange(6, dtype="<f2"), np.array([7], "<i8")
    entries = {"a": tensor("0", a), "turned": tensor("0", a, 1, (4, 2), (1, 4))}
    entries.update(b=tensor("1", b), n=tensor("2", c))
    return entries, {"0": a, "1": b, "2": c}


@pytest.fixture(params=[stream, zipped], ids=["stream", "zip"])
def layout(request):
    return request.param


def read(tmp_path, data):
    path = tmp_path / "x.pth"
    path.write_bytes(data)
    return read_checkpoint(path)


def test_plain_tensors(layout, tmp_path):
    entries, storages = example()
    found = read(tmp_path, layout(entries, storages))
    np.testing.assert_array_equal(found["a"], storages["0"])
    np.testing.assert_array_equal(found["turned"], [[1, 5], [2, 6], [3, 7], [4, 8]])
    assert found["b"].dtype == np.float32 and found["n"].dtype == np.int64 and found["n"][0] == 7


@pytest.mark.parametrize("name", ["posix\nsystem", "builtins\neval", "torch\nload", "torch._utils\n_rebuild_parameter",
                                  "fromagerie.export.checkpoint\nread_checkpoint", "collections\nCounter"])  # fmt: skip
def test_code_is_refused(name, layout, tmp_path):
    mark = tmp_path / "ran"
    call = f"c{name}\n".encode() + b"(" + string(f"touch {mark}") + b"tR"
    with pytest.raises(CheckpointError, match="refused to load"):
        read(tmp_path, layout({"a": call}, {}))
    assert not mark.exists()


class Evil:
    def __reduce__(self):
        return os.system, ("exit 1",)


def test_code_before_the_tensors_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="refused"):
        read(tmp_path, pickle.dumps(Evil(), 2))


@pytest.mark.parametrize("change", [
    {"offset": 1}, {"offset": -1}, {"shape": (4, 4)}, {"shape": (-1, 4)}, {"strides": (400000000, 1)},
    {"strides": (1,)}, {"strides": (-1, 1)}, {"count": -1}, {"count": 2**31 - 1},
], ids=str)  # fmt: skip
def test_tensors_outside_their_storage(change, layout, tmp_path):
    array = np.zeros((3, 4), "<f4")
    with pytest.raises(CheckpointError):
        read(tmp_path, layout({"a": tensor("0", array, **change)}, {"0": array}))


def test_cut_anywhere_it_is_refused(layout, tmp_path):
    whole = layout(*example())
    for length in range(0, len(whole) - 1, 5):
        with pytest.raises(CheckpointError):
            read(tmp_path, whole[:length])


def test_torch_agrees(tmp_path):
    torch = pytest.importorskip("torch")
    tensors = {"w": torch.randn(5, 3).T, "half": torch.randn(4).half(), "n": torch.tensor(3)}
    for zipping in (True, False):
        torch.save(tensors, tmp_path / "x.pth", _use_new_zipfile_serialization=zipping)
        found = read_checkpoint(tmp_path / "x.pth")
        assert all(np.array_equal(found[name], value.float().numpy()) for name, value in tensors.items())
