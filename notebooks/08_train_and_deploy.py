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
# # Fine-tune a classifier, and put it on a page
#
# An ONNX file is usually the end of training. Here it is the beginning: a small classifier learns to cope with other images
# than it was made for, without the framework that it came from. Then it is optimised and put on a page that runs it in
# a browser.
#
# ## A file to begin with
#
# A network for images of 16 x 16 pixels: two convolutions with BatchNormalization, an average, a product. In its place
# could be what any exporter wrote; here it is written down, with random weights.

# %%
import tempfile
from pathlib import Path

import numpy as np
from onnx import numpy_helper, parser

import graphopt
from graphopt.exec import TrainingSession
from graphopt.exec.training import Batches

folder = Path(tempfile.mkdtemp())
network = parser.parse_model("""
<ir_version: 10, opset_import: ["": 18]>
classifier (float[batch, 1, 16, 16] image) => (float[batch, 3] logits) {
    a = Conv <pads = [1, 1, 1, 1]> (image, stem)
    b = BatchNormalization (a, stem_scale, stem_shift, stem_mean, stem_var)
    c = Relu (b)
    d = MaxPool <kernel_shape = [2, 2], strides = [2, 2]> (c)
    e = Conv <pads = [1, 1, 1, 1]> (d, body)
    f = BatchNormalization (e, body_scale, body_shift, body_mean, body_var)
    g = Relu (f)
    h = GlobalAveragePool (g)
    i = Flatten (h)
    logits = Gemm (i, head, head_bias)
}
""")
rng = np.random.default_rng(0)
weights = {"stem": rng.normal(0, 0.3, (8, 1, 3, 3)), "body": rng.normal(0, 0.15, (16, 8, 3, 3))}
weights |= {"head": rng.normal(0, 0.3, (16, 3)), "head_bias": np.zeros(3)}
for name, channels in (("stem", 8), ("body", 16)):
    weights |= {
        f"{name}_{part}": np.full(channels, part in ("scale", "var")) for part in ("scale", "shift", "mean", "var")
    }
network.graph.initializer.extend(numpy_helper.from_array(w.astype(np.float32), name) for name, w in weights.items())
model = graphopt.load(network)
model

# %% [markdown]
# ## Something to learn
#
# Discs, squares and crosses, anywhere and of any size.

# %%
NAMES = ["disc", "square", "cross"]


def drawn(count, seed, noise=0.1):
    """Images and what they show."""
    rng = np.random.default_rng(seed)
    label = rng.integers(0, 3, count)
    size, x, y = rng.uniform(3, 5, count), rng.uniform(6, 10, count), rng.uniform(6, 10, count)
    across, down = (np.abs(np.arange(16) - at[:, None]) for at in (x, y))
    dx, dy, size = across[:, None, :], down[:, :, None], size[:, None, None]
    shapes = [
        dx**2 + dy**2 < size**2,
        np.maximum(dx, dy) < size,
        (np.minimum(dx, dy) < 1) & (np.maximum(dx, dy) < size),
    ]
    images = np.choose(label[:, None, None], [s.astype(np.float32) for s in shapes])
    return (images + rng.normal(0, noise, images.shape)).astype(np.float32)[:, None], label


image, label = drawn(1024, seed=1)
session = TrainingSession(model, "cross_entropy", "adam", learning_rate=1e-2)
session.fit(Batches({"image": image, "label": label}, 64), epochs=6, progress=False)


def accuracy(session, images, labels):
    (logits,) = session.run(["logits"], {"image": images})
    return float(np.mean(logits.argmax(1) == labels))


test = drawn(512, seed=2)
print(f"right: {accuracy(session, *test):.0%}")
session.trained_model.save(folder / "shapes.onnx")

# %% [markdown]
# `trained_model` is the network as it came, with other weights: BatchNormalizations used each batch's own statistics while
# it trained, and keep running ones for later.
#
# ## Other images
#
# Now the same shapes come dark on bright, and the classifier is lost:

# %%
image, label = drawn(512, seed=3)
session = TrainingSession(folder / "shapes.onnx", "cross_entropy", "adam", learning_rate=1e-2)
dark = 1 - test[0], test[1]
print(f"bright shapes {accuracy(session, *test):.0%}, dark ones {accuracy(session, *dark):.0%}")

# %% [markdown]
# Half of the images turned over, and some epochs later it knows both. `evaluate=` measures after each epoch, and
# `early_stop=` ends when that does not get better; the best weights come back. The first convolution stays as it is: what is not
# trained is listed with the reason.

# %%
session = TrainingSession(
    folder / "shapes.onnx", "cross_entropy", "adam", learning_rate=1e-2, trainable=["stem_*", "body*", "head*"]
)
print(session)

# %%
turned = np.concatenate([image, 1 - image]), np.concatenate([label, label])
check = [{"image": np.concatenate([test[0], dark[0]]), "label": np.concatenate([test[1], dark[1]])}]
history = session.fit(
    Batches({"image": turned[0], "label": turned[1]}, 64), epochs=12, evaluate=check, early_stop=4, progress=False,
    checkpoint=folder / "training.safetensors",
)  # fmt: skip
print(f"bright shapes {accuracy(session, *test):.0%}, dark ones {accuracy(session, *dark):.0%}")

# %%
import matplotlib.pyplot as plt

figure, axes = plt.subplots(figsize=(7, 2.5))
axes.plot(history.losses)
axes.set(xlabel="step", ylabel="loss", title="Fine-tuning")
axes.spines[["top", "right"]].set_visible(False)

# %% [markdown]
# An interrupted training goes on with `fit(..., checkpoint=..., resume=True)`, and ends with the same weights.
#
# ## A model to use
#
# `session.model` is optimised for inference again: the BatchNormalizations are gone into the convolutions.

# %%
fast = session.model
print([n.op for n in fast.graph])
graphopt.verify(session.trained_model, fast)

# %%
fast.save(folder / "shapes.fast.onnx")

# %% [markdown]
# ## A page to show
#
# `graphopt web-demo` writes a folder that any web server can hand out: the model before and after, ONNX Runtime Web, and a page
# that runs both in the visitor's browser and compares them. Nothing is sent anywhere.

# %%
from graphopt.errors import MissingDependencyError
from graphopt.web_demo import write_demo

try:
    demo = write_demo(folder / "shapes.onnx", folder / "page", input_shapes={"batch": 1}, inputs={"image": test[0][:1]})
    print(sorted(p.name for p in (folder / "page").iterdir()))
    print(demo.differences)
except MissingDependencyError as e:  # the page is made of the npm package's files
    print(e)

# %% [markdown]
# Open it with `python -m http.server -d page`, or with `graphopt web-demo shapes.onnx -o page --serve`, which writes and
# serves it.
#
# The trained model is made for any runtime; for the web, `target="web"` writes what ONNX Runtime Web has kernels for, and
# `precision="int8-dynamic"` makes the download a quarter of it.
