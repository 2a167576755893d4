"""Constant tensors: every dtype, from messages, arrays and files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from graphopt.errors import ModelError
from graphopt.ir import Tensor, dtype_name

#: All that the installed onnx knows.
DTYPES = {name: n for name, n in TensorProto.DataType.items() if name != "UNDEFINED"}
NUMERIC = {name: n for name, n in DTYPES.items() if name != "STRING"}


def sample(dtype: int, size: int = 5) -> np.ndarray:
    """A few values that the dtype holds."""
    if dtype == TensorProto.STRING:
        return np.array(["", "a", "é", "0", "longer text"][:size], object)
    numpy_dtype = np.dtype(helper.tensor_dtype_to_np_dtype(dtype))
    return np.array([1, 0, 0, 1, 1][:size] if dtype != TensorProto.FLOAT8E8M0 else [1, 2, 2, 1, 4][:size]).astype(
        numpy_dtype
    )


def external(
    folder: Path,
    dtype: int,
    dims: tuple[int, ...],
    offset: int | None = 0,
    length: int | None = None,
    name: str = "w.bin",
) -> Tensor:
    """A tensor whose message refers to a file."""
    proto = TensorProto(name="w", data_type=dtype, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", name), ("offset", offset), ("length", length)):
        if value is not None:
            proto.external_data.add(key=key, value=str(value))
    return Tensor(proto, base_dir=str(folder))


@pytest.mark.parametrize("name", DTYPES)
def test_every_dtype_from_array_and_back(name: str) -> None:
    array = sample(DTYPES[name])
    tensor = Tensor(array=array)
    assert tensor.dtype == DTYPES[name]
    assert tensor.dims == (5,)
    assert tensor.size == 5
    proto = tensor.proto("t")
    assert (proto.name, proto.data_type, list(proto.dims)) == ("t", DTYPES[name], [5])
    back = Tensor(proto).numpy()
    assert back.tolist() == array.tolist()
    assert not back.flags.writeable


@pytest.mark.parametrize("name", NUMERIC)
@pytest.mark.parametrize("size", [0, 1, 5])
def test_nbytes_is_what_a_message_holds(name: str, size: int) -> None:
    proto = numpy_helper.from_array(sample(NUMERIC[name], size))
    assert Tensor(proto).nbytes == len(proto.raw_data)


@pytest.mark.parametrize("name", NUMERIC)
@pytest.mark.parametrize("offset", [0, 3, 64])
def test_every_dtype_from_a_file(name: str, offset: int, tmp_path: Path) -> None:
    raw = numpy_helper.from_array(sample(NUMERIC[name])).raw_data
    (tmp_path / "w.bin").write_bytes(b"\xff" * offset + raw + b"\xff" * 7)
    for tensor in (
        external(tmp_path, NUMERIC[name], (5,), offset, len(raw)),
        external(tmp_path, NUMERIC[name], (5,), offset),
    ):
        assert tensor.is_external
        array = tensor.numpy()
        assert array.dtype == sample(NUMERIC[name]).dtype
        assert array.tolist() == sample(NUMERIC[name]).tolist()
        assert not array.flags.writeable


@pytest.mark.parametrize("name", NUMERIC)
def test_typed_fields_are_read(name: str) -> None:
    """Values that lie in int32_data, float_data... instead of raw_data."""
    proto = helper.make_tensor("t", NUMERIC[name], [3], sample(NUMERIC[name], 3))
    assert Tensor(proto).numpy().tolist() == sample(NUMERIC[name], 3).tolist()


def test_scalars_and_empty_tensors() -> None:
    scalar = Tensor(array=np.array(2.5, np.float32))
    assert scalar.dims == ()
    assert scalar.item() == 2.5
    assert scalar.proto("s").dims == []
    assert Tensor(scalar.proto("s")).numpy().shape == ()
    empty = Tensor(array=np.zeros((0, 3), np.float32))
    assert (empty.size, empty.nbytes, empty.item()) == (0, 0, None)
    assert Tensor(empty.proto("e")).numpy().shape == (0, 3)
    assert Tensor(array=np.array([[7]])).item() == 7
    assert Tensor(array=np.array(["x"], object)).item() == "x"
    assert Tensor(array=np.array([1, 2])).item() is None


@pytest.mark.parametrize("array", [np.array(["a", "bc"]), np.array("a"), np.array([["a"]], object)])
def test_text_arrays_of_all_kinds(array: np.ndarray) -> None:
    tensor = Tensor(array=array)
    assert tensor.dtype == TensorProto.STRING
    assert Tensor(tensor.proto("t")).numpy().tolist() == array.tolist()


def test_fortran_order_is_saved_in_row_order() -> None:
    array = np.asfortranarray(np.arange(6, dtype=np.float32).reshape(2, 3))
    assert numpy_helper.to_array(Tensor(array=array).proto("t")).tolist() == array.tolist()


def test_message_is_handed_out_as_it_is() -> None:
    proto = numpy_helper.from_array(np.ones(3), "w")
    tensor = Tensor(proto)
    assert tensor.proto("w") is proto
    other = tensor.proto("v")
    assert (other.name, proto.name) == ("v", "w")
    assert other.raw_data == proto.raw_data


def test_files_are_mapped(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(1 << 20))
    array = external(tmp_path, TensorProto.FLOAT, (1 << 18,)).numpy()
    base = array
    while isinstance(base, np.ndarray) and not isinstance(base, np.memmap):
        base = base.base
    assert isinstance(base, np.memmap)


def test_empty_tensor_needs_no_bytes_of_the_file(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(b"")
    assert external(tmp_path, TensorProto.FLOAT, (0, 2)).numpy().shape == (0, 2)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"offset": 1}, "too short"),
        ({"offset": -1}, "too short"),
        ({"length": 3}, "too short"),
        ({"length": 0}, "too short"),
        ({"length": 1 << 40}, "too short"),
        ({"offset": "x"}, "not a number"),
        ({"name": "absent.bin"}, "is missing"),
        ({"name": ""}, "outside"),
        ({"name": "."}, "missing"),
        ({"name": "../w.bin"}, "outside"),
        ({"name": "/etc/hostname"}, "outside"),
        ({"name": "link.bin"}, "outside"),
        ({"name": "folder/w.bin"}, "outside"),
        ({"name": "sub/../../w.bin"}, "outside"),
    ],
)
def test_refused_external_data(kwargs: dict[str, object], message: str, tmp_path: Path) -> None:
    home = tmp_path / "home"
    (home / "sub").mkdir(parents=True)
    (home / "w.bin").write_bytes(bytes(8))
    (tmp_path / "w.bin").write_bytes(bytes(8))
    (home / "link.bin").symlink_to(tmp_path / "w.bin")
    (home / "folder").symlink_to(tmp_path)
    with pytest.raises(ModelError, match=message) as e:
        external(home, TensorProto.FLOAT, (2,), **kwargs).numpy()
    assert "'w'" in str(e.value)
    assert "\n" not in str(e.value)


def test_links_inside_the_folder_are_followed(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "real.bin").write_bytes(np.array([1, 2], np.float32).tobytes())
    (tmp_path / "w.bin").symlink_to(tmp_path / "a" / "real.bin")
    assert external(tmp_path, TensorProto.FLOAT, (2,)).numpy().tolist() == [1, 2]
    assert external(tmp_path, TensorProto.FLOAT, (2,), name="a/../w.bin").numpy().tolist() == [1, 2]


@pytest.mark.parametrize("raw", [b"", b"1234", bytes(12)])
def test_wrong_number_of_bytes_in_the_message(raw: bytes) -> None:
    tensor = Tensor(TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2], raw_data=raw))
    with pytest.raises(ModelError, match="'w'") as e:
        tensor.numpy()
    assert "\n" not in str(e.value)


def test_unknown_dtype() -> None:
    tensor = Tensor(TensorProto(name="w", data_type=99, dims=[2], raw_data=bytes(8)))
    with pytest.raises(ModelError, match="'w'"):
        tensor.numpy()
    assert repr(tensor)


def test_names_of_dtypes() -> None:
    assert dtype_name(TensorProto.FLOAT) == "float"
    assert dtype_name(TensorProto.BFLOAT16) == "bfloat16"
    assert "int64" in repr(Tensor(array=np.zeros((2, 3), np.int64)))


def test_bits_of_nan_survive() -> None:
    array = np.array([0x7FC00001, 0xFFC00000, 0x80000000], np.uint32).view(np.float32)
    back = Tensor(Tensor(array=array).proto("t")).numpy()
    assert back.tobytes() == array.tobytes()
    assert onnx.numpy_helper.to_array(Tensor(array=array).proto("t")).tobytes() == array.tobytes()
