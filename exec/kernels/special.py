"""Special functions that array libraries lack."""

from __future__ import annotations
