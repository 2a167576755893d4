"""What the documentation site is made of beside the pages that are written: pages and drawings made from the code as it is built.

`hooks.py` is what MkDocs calls (mkdocs.yml). Nothing here is part of the installed package.
"""
