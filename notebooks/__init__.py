"""Notebooks as text (jupytext's percent format): read them here, open them in Jupyter or VS Code, run them by `python -m notebooks`."""
