"""Operators of ai.onnx.ml: https://onnx.ai/onnx/operators/ (classical machine learning)."""
