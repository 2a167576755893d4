"""Models in the making: the builder, and recipes for values."""
