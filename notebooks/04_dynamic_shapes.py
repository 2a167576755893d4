# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Dynamic shapes and specialisation
#
# Most exported models take any batch, any length, any image size, and pay for that with nodes that read shapes at run
# time and compute others from them. This notebook shows what is known of such dims without running anything, what the
# optimiser makes of that, and what you gain by fixing them.

# %%
import onnx

import graphopt

model = onnx.parser.parse_model("""
    <ir_version: 8, opset_import: ["" : 17]>
    patches (float[batch, 3, height, width] image, float[16, 3, 4, 4] w) => (float[batch, tokens, 16] y) {
        map = Conv <strides = [4, 4]> (image, w)
        shape = Shape (map)
        zero = Constant <value = int64 {0}> ()
        one = Constant <value = int64 {1}> ()
        axis = Constant <value = int64[1] {0}> ()
        rest = Constant <value = int64[1] {-1}> ()
        n = Gather (shape, zero)
        c = Gather (shape, one)
        n1 = Unsqueeze (n, axis)
        c1 = Unsqueeze (c, axis)
        target = Concat <axis = 0> (n1, c1, rest)
        flat = Reshape (map, target)
        moved = Transpose <perm = [0, 2, 1]> (flat)
        y = Relu (moved)
    }
""")
model = graphopt.load(model)
model

# %% [markdown]
# ## What is known
#
# Dims are numbers, names, or expressions over names. The convolution makes `floor(height/4)` of `height`; the Reshape
# makes one dim of two, and the drawing shows it. `infer_shapes` writes all that into the model, for other tools to
# read:

# %%
typed = graphopt.infer_shapes(model)
for info in typed.proto.graph.value_info:
    dims = [d.dim_param or d.dim_value for d in info.type.tensor_type.shape.dim]
    print(f"{info.name:8s} {dims}")

# %% [markdown]
# A dim that keeps its name can be compared. `batch` is `batch` from beginning to end, so the elements of the shape
# tensor `target` are known: `batch`, 16, and what is left. That is enough to do without the six nodes that compute
# it:

# %%
fast = graphopt.optimize(model)
fast

# %%
assert fast.node_count() < model.node_count()
[step.name for step in graphopt.trace(model)]

# %% [markdown]
# The model is as dynamic as it was. It takes images of any size:

# %%
import numpy as np

import graphopt.exec as ort

rng = np.random.default_rng(0)
w = rng.normal(size=(16, 3, 4, 4)).astype(np.float32)
before, after = (ort.InferenceSession(m.SerializeToString()) for m in (model, fast))
for size in ((1, 3, 32, 32), (2, 3, 48, 64)):
    image = rng.normal(size=size).astype(np.float32)
    (want,), (got,) = (s.run(None, {"image": image, "w": w}) for s in (before, after))
    np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-6)
    print(size, "->", got.shape)

# %% [markdown]
# (`graphopt.exec` has ONNX Runtime's Python API, on kernels of its own. Put `import onnxruntime as ort` there
# instead, and nothing else changes.)
#
# ## Fixing some dims, or all
#
# Where you know that a dim never changes, say so: by its name, or the whole shape of an input. Everything that
# follows from it is folded.

# %%
from graphopt.demo import demo_model

detector = demo_model()
plans = {
    "as it is": {},
    "batch = 1": {"input_shapes": {"batch": 1}},
    "image = (1, 3, 64, 64)": {"input_shapes": {"image": (1, 3, 64, 64)}},
}
made = {name: graphopt.optimize(detector, **how) for name, how in plans.items()}
for name, m in made.items():
    print(f"{name:24s} {m.node_count():3d} nodes, {sum(n.op == 'Shape' for n in m.nodes())} of them Shape")

# %% [markdown]
# This detector gains nothing more: with a dynamic batch already all its shape arithmetic is gone, since each Reshape
# could be written with the numbers that are known and one `0` or `-1` for what is not. That is the point of symbolic
# shapes. Where two or more dims of one Reshape are dynamic, fixing them helps:

# %%
two = onnx.parser.parse_model("""
    <ir_version: 8, opset_import: ["" : 17]>
    windows (float[batch, length, 64] x) => (float[a, b, c, 64] y) {
        shape = Shape (x)
        zero = Constant <value = int64 {0}> ()
        one = Constant <value = int64 {1}> ()
        axis = Constant <value = int64[1] {0}> ()
        eight = Constant <value = int64[1] {8}> ()
        tail = Constant <value = int64[1] {64}> ()
        n = Gather (shape, zero)
        l = Gather (shape, one)
        eight0 = Constant <value = int64 {8}> ()
        parts = Div (l, eight0)
        n1 = Unsqueeze (n, axis)
        p1 = Unsqueeze (parts, axis)
        target = Concat <axis = 0> (p1, n1, eight, tail)
        y = Reshape (x, target)
    }
""")
for how in ({}, {"input_shapes": {"batch": 1}}, {"input_shapes": {"batch": 1, "length": 64}}):
    m = graphopt.optimize(two, **how)
    print(f"{how.get('input_shapes', 'as it is')!s:28s} {[n.op for n in m.graph if n.op != 'Constant']}")

# %% [markdown]
# A fixed model declares its fixed input, and refuses others. A wrong name or a size that the model cannot have is an
# error that says so:

# %%
try:
    graphopt.optimize(two, input_shapes={"heigth": 64})
except graphopt.GraphoptError as error:
    print(error)
else:
    raise AssertionError("a name that does not exist was taken")

# %% [markdown]
# ## One model for each size
#
# A service with a few sizes can keep one specialised model each, and the dynamic one for the rest. Optimising is
# cheap enough to do it at start:

# %%
import time

started = time.perf_counter()
by_size = {s: graphopt.optimize(detector, input_shapes={"image": (s, 3, 64, 64)}) for s in (1, 4, 16)}
print(
    f"{len(by_size)} models in {time.perf_counter() - started:.2f} s:", {s: m.node_count() for s, m in by_size.items()}
)
assert all(
    graphopt.verify(graphopt.optimize(detector, 0, input_shapes={"image": (s, 3, 64, 64)}), m)
    for s, m in by_size.items()
)

# %% [markdown]
# The numbers of nodes are the same, as above: this model had no shape arithmetic left. What a runtime gains from
# fixed dims is its own planning, of memory above all, so measure before you keep many models.
#
# On the command line: `graphopt optimize model.onnx -o fixed.onnx --input-shape batch=1`, and `graphopt inspect
# model.onnx --shapes` for the type of every value. What is inferred, and what is assumed, is in `docs/shapes.md`.
