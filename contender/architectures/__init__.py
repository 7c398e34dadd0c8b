"""Architectures that transformers does not have, known to its Auto classes from `import contender` on.

Each is two modules here: `<name>_config.py` with `CONFIG`, and `<name>.py` with `MODELS`, Auto class → model class. They are
imported when transformers' own tables of architectures are, and not before: `import contender` stays light.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType

NAMES = ("audio_convnet",)


def _register_configs() -> None:
    from transformers import AutoConfig

    for name in NAMES:
        config = import_module(f"contender.architectures.{name}_config").CONFIG
        AutoConfig.register(config.model_type, config, exist_ok=True)


def _register_models() -> None:
    import transformers

    _register_configs()
    for name in NAMES:
        config = import_module(f"contender.architectures.{name}_config").CONFIG
        for auto, model in import_module(f"contender.architectures.{name}").MODELS.items():
            getattr(transformers, auto).register(config, model, exist_ok=True)


TABLES: dict[str, Callable[[], None]] = {
    "transformers.models.auto.configuration_auto": _register_configs,
    "transformers.models.auto.modeling_auto": _register_models,
}


class _Finder(MetaPathFinder):
    """Finds the tables as Python does, and adds to them once they are there."""

    def find_spec(self, name: str, path: Sequence[str] | None, target: ModuleType | None = None) -> ModuleSpec | None:
        if name not in TABLES:
            return None
        spec = PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, TABLES[name])
        return spec


class _Loader(Loader):
    def __init__(self, own: Loader, after: Callable[[], None]) -> None:
        self._own = own
        self._after = after

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._own.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        self._own.exec_module(module)
        self._after()


def known_to_transformers() -> None:
    """Registers the architectures now where transformers' tables are there, and else as soon as they are."""
    if any(isinstance(finder, _Finder) for finder in sys.meta_path):
        return
    sys.meta_path.insert(0, _Finder())
    for name, register in TABLES.items():
        if name in sys.modules:
            register()
