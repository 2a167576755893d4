"""Operators of ONNX Runtime's own (domain com.microsoft), written where it is the target."""
