"""What kernels compute with: NumPy (the reference), JAX (accelerated), exact objects (proofs)."""

from __future__ import annotations
