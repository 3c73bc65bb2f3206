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
from torch_file import pickled, state_dict, stream, string, tensor, zipped


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


def test_parameters_bfloat16_and_wrapped_dictionaries(tmp_path):
    array = np.array([[1.5, -2.0, 3e38]], np.float32)
    half = (array.view(np.uint32) >> 16).astype("<u2")
    found = read(tmp_path, state_dict({"a": array, "b": half}, wrap="state_dict"))
    np.testing.assert_array_equal(found["a"], array)
    np.testing.assert_allclose(found["b"], array, rtol=2**-7)
    parameter = b"ctorch._utils\n_rebuild_parameter\n(" + tensor("0", array) + b"\x89ccollections\nOrderedDict\n)RtR"
    np.testing.assert_array_equal(read(tmp_path, zipped({"p": parameter}, {"0": array}))["p"], array)
    with pytest.raises(CheckpointError, match="malformed parameter"):
        read(tmp_path, zipped({"p": b"ctorch._utils\n_rebuild_parameter\n(" + string("x") + b"tR"}, {}))


@pytest.mark.parametrize("name", ["posix\nsystem", "builtins\neval", "torch\nload", "numpy.core.multiarray\nscalar",
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
