"""How operators are written for other layouts, a family a file."""
