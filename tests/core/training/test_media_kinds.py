"""Kinds that read pictures and sounds: what they learn, how they resume, and what they answer to whom."""

from __future__ import annotations
