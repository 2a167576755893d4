"""Forms that ONNX Runtime's kernels on the CPU run fastest, where other forms are as good or better elsewhere.

Each says what was measured: nanoseconds an element, one thread, ONNX Runtime 1.32 (`python -m benchmarks.forms`).
"""
