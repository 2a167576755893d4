"""Notebooks as text (jupytext's percent format), to be read here, opened in Jupyter or run by `python -m notebooks`."""
