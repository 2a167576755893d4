"""Running models: kernels, back ends and sessions. Import what you need from its module; nothing is imported here."""

from __future__ import annotations
