"""The elements of shape tensors: computed with dims where numbers are not known.

An array of elements holds ints, names, expressions, fractions (where the tensor holds floats), and None for what is not
known; truth values are 0 and 1. What would overflow its dtype, or be rounded when a session computes it, is not known.
Importing this registers a function for each operator.
"""

from graphopt.shapes.elements import arithmetic, logic, movement

__all__ = ["arithmetic", "logic", "movement"]
