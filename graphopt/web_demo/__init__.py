"""A page that people can open: a model and what became of it, side by side in the browser.

    >>> demo = write_demo("model.onnx", "folder", input_shapes={"batch": 1})
    >>> with demo.server() as server:
    ...     server.serve_forever()

The folder is all there is: it can lie on any web server, and asks no other for anything.
"""

from __future__ import annotations

from graphopt.web_demo.writing import PROVIDERS, Demo, write_demo

__all__ = ["PROVIDERS", "Demo", "write_demo"]
