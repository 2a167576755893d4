"""Operators of ai.onnx.ml: https://onnx.ai/onnx/operators/ (classical machine learning).

Where the specification leaves something open, this is as in ONNX Runtime, which is where such models run.
"""

#: The domain of the operators here.
DOMAIN = "ai.onnx.ml"
