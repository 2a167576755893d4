"""Weights that stay in the bytes of the file: what is taken out of a message, and that nothing else is."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from graphopt import load
from graphopt.errors import ModelError
from graphopt.ir import Model
from graphopt.ir.wire import LARGE, tag, varint, without_weights
from tests.ir.building import constants, parse, same_bits


def model(*tensors: TensorProto) -> ModelProto:
    proto = parse("g (float[N] x) => (float[N] y) { y = Relu(x) }", check=False)
    proto.graph.initializer.extend(tensors)
    return proto


def weights(size: int, seed: int = 0, dtype: str = "float32") -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(size).astype(dtype)


def test_large_raw_data_is_taken_out_by_its_number() -> None:
    big, small = weights(LARGE), weights(4)
    proto = model(*(numpy_helper.from_array(a, n) for a, n in ((small, "s"), (big, "a"), (small, "t"), (big, "b"))))
    data = proto.SerializeToString()
    rest, taken = without_weights(data)
    assert {k: bytes(v) for k, v in taken.items()} == {1: big.tobytes(), 3: big.tobytes()}
    read = onnx.load_from_string(bytes(rest))
    for i in taken:
        assert not read.graph.initializer[i].HasField("raw_data")
        read.graph.initializer[i].raw_data = bytes(taken[i])
    assert read == proto


@pytest.mark.parametrize("extra", ["float_data", "external", "twice", "small"])
def test_what_is_left_in(extra: str) -> None:
    t = numpy_helper.from_array(weights(LARGE), "w")
    if extra == "float_data":
        t = helper.make_tensor("w", TensorProto.FLOAT, [LARGE], weights(LARGE))
    elif extra == "external":
        t.data_location = TensorProto.EXTERNAL
    elif extra == "twice":
        t = TensorProto.FromString(t.SerializeToString())
    else:
        t = numpy_helper.from_array(weights(LARGE // 8), "w")
    data = model(t).SerializeToString()
    if extra == "twice":  # protobuf takes the last one
        message = t.SerializeToString() + tag(9) + varint(4) + b"abcd"
        graph = tag(5) + varint(len(message)) + message
        data = helper.make_model(onnx.GraphProto()).SerializeToString() + tag(7) + varint(len(graph)) + graph
    assert without_weights(data) == (data, {})


def test_what_is_no_message_is_left_to_protobuf() -> None:
    data = model(numpy_helper.from_array(weights(LARGE), "w")).SerializeToString()
    for broken in (
        data[:-10],
        data[:100],
        b"",
        b"\xff" * 40,
        data + b"\x0b",
        b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    ):
        assert without_weights(broken) == (broken, {})
    twice = data + tag(7) + varint(0)
    assert without_weights(twice) == (twice, {})


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "int64", "int8", "uint8", "bool"])
def test_values_and_files_are_the_same(dtype: str, tmp_path: Path) -> None:
    """The weights lie anywhere in the file, so that most of them are not aligned."""
    tensors = [
        numpy_helper.from_array(weights(40_000 + k, k, "float32").astype(dtype), "w" * (k + 1)) for k in range(4)
    ]
    proto = model(*tensors)
    onnx.save(proto, tmp_path / "m.onnx")
    m = load(tmp_path / "m.onnx")
    assert all(t.raw is not None for t in m.graph.initializers.values())
    for t, found in zip(tensors, m.graph.initializers.values(), strict=True):
        assert same_bits(found.numpy(), numpy_helper.to_array(t)) and same_bits(found.view(), numpy_helper.to_array(t))
        assert found.numpy().flags.aligned and not found.numpy().flags.writeable
    m.save(tmp_path / "again.onnx")
    assert onnx.load(tmp_path / "again.onnx") == proto == m.proto
    m.save(tmp_path / "outside.onnx", external_data=True)
    assert all(same_bits(a, constants(proto)[n]) for n, a in constants(onnx.load(tmp_path / "outside.onnx")).items())
    next(iter(m.graph.initializers)).rename("other")
    assert [t.name for t in m.proto.graph.initializer] == ["other", "ww", "www", "wwww"]
    m.save(tmp_path / "again.onnx")
    assert onnx.load(tmp_path / "again.onnx") == m.proto


def test_packed_elements() -> None:
    proto = model(helper.make_tensor("w", TensorProto.INT4, [400_000], bytes(200_000), raw=True))
    (t,) = load(proto.SerializeToString()).graph.initializers.values()
    assert t.raw is not None and t.numpy().shape == (400_000,) and not t.numpy().any()


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))])
def test_copies(copied: Callable[[Model], Model]) -> None:
    proto = model(numpy_helper.from_array(weights(40_000), "w"), numpy_helper.from_array(weights(4), "s"))
    assert copied(load(proto.SerializeToString())).proto == proto


def test_too_few_bytes() -> None:
    t = numpy_helper.from_array(weights(40_000), "w")
    t.dims[0] = 40_001
    with pytest.raises(ModelError, match="fewer bytes"):
        load(model(t).SerializeToString())
