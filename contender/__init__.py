"""Continuous fine-tuning that ships a model only when it is shown to be better."""

__version__ = "0.1.0"
