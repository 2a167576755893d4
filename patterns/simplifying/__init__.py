"""Rules that make a graph smaller or cheaper without leaving ONNX's own operators."""
