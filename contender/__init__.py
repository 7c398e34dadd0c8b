"""Continuous fine-tuning that ships a model only when it is shown to be better."""

from typing import TYPE_CHECKING, Any

from contender.autoclasses import register_when_imported

if TYPE_CHECKING:
    from contender.serving import load as load

__version__ = "0.1.0"

register_when_imported()


def __getattr__(name: str) -> Any:
    """`contender.load`, imported where it is asked for: `import contender` stays as light as a command line needs it."""
    if name == "load":
        from contender.serving import load

        return load
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
