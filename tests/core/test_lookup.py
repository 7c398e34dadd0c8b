"""NAME on the command line: which registry, which pipeline, which alias; and what `verify` was given."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from contender.errors import Damaged, UsageError
from contender.lookup import Target, find, folder_or_target
from contender.records import ReleaseDraft
from contender.registry import Registry, verify_folder
from contender.store import LocalStore

SPEC = """\
name: {name}
task: text-classification
data: {{source: data.csv, columns: {{text: body, label: kind}}}}
model: {{base: a/b}}
promote: {promote}
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with nothing in it."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.delenv("CONTENDER_REGISTRY", raising=False)
    return folder


def filled(root: Path, name: str = "desk", alias: str = "production") -> Path:
    """A registry at `root` that has a release of the pipeline, live under the alias."""
    model = root.parent / f"{root.name}-model"
    model.mkdir(parents=True, exist_ok=True)
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(b"weights")
    registry = Registry(LocalStore(root), name)
    manifest = registry.stage(model, ReleaseDraft(kind="text-classification", columns={}))
    registry.promote(alias, 0, manifest, reason="first", actor="tests")
    return root


def pipeline(
    here: Path, file: str = "desk", name: str = "desk", promote: str = "{to: registry}", more: str = ""
) -> None:
    (here / "pipelines").mkdir(exist_ok=True)
    (here / "pipelines" / f"{file}.yaml").write_text(SPEC.format(name=name, promote=promote) + more)


def found(name: str, **options: Any) -> tuple[str, str, str]:
    target = find(name, options.pop("registry", None), options.pop("environ", {}))
    return target.registry.url, target.name, target.alias


@pytest.mark.parametrize("place", ["reg", "me@corp/reg", "a b/@/reg"])
@pytest.mark.parametrize("ending", ["", "/", "@production"])
def test_a_registry_and_a_name_are_split_at_the_last_slash_and_the_alias_off_the_last_part(
    here: Path, place: str, ending: str
) -> None:
    root = filled(here / place)
    expected = (f"{root}/desk", "desk", "production")
    assert (
        found(f"{root}/desk{ending}")
        == found(f"{place}/desk{ending}")
        == found(f"file://{root}/desk{ending}")
        == expected
    )


@pytest.mark.parametrize(
    "name", ["{root}/nothere", "{root}/nothere@staging", "file://{root}/nothere", "nowhere/desk", "/desk"]
)
def test_a_pipeline_that_is_not_in_its_registry_is_wrong_usage(here: Path, name: str) -> None:
    root = filled(here / "reg")
    with pytest.raises(UsageError, match=r"no pipeline .* tried: .*nothing of that name in") as refused:
        find(name.format(root=root), None, {})
    assert refused.value.exit_code == 2


@pytest.mark.parametrize("name", ["s3://x", "s3://x/", "file://desk", "memory://desk", "gs://x/desk", "s3:///desk"])
def test_a_url_that_names_no_registry_and_pipeline_is_wrong_usage_and_never_a_local_folder(
    here: Path, name: str
) -> None:
    with pytest.raises(UsageError):
        find(name, None, {})
    assert list(here.iterdir()) == []


@pytest.mark.parametrize(
    "name", ["", "/", "//", "@production", "reg/@production", ".", "..", "x" * 5000, "a\0b", "reg/a\0b"]
)
def test_what_no_pipeline_can_be_called_is_wrong_usage(name: str) -> None:
    with pytest.raises(UsageError):
        find(name, None, {})


@pytest.mark.parametrize("name", ["", "x" * 5000, "a\0b"])
def test_what_neither_a_folder_nor_a_pipeline_can_be_called_is_wrong_usage(name: str) -> None:
    with pytest.raises(UsageError):
        folder_or_target(name, None, {})


@pytest.mark.parametrize("name", ["reg/desk@", "reg/desk@a@b", "desk@.."])
def test_a_name_that_no_alias_has_is_told_in_good_english(here: Path, name: str) -> None:
    filled(here / "reg")
    with pytest.raises(UsageError, match="is no name of an alias"):
        find(name, None, {})


def test_a_bare_name_is_looked_up_in_order_with_or_without_a_slash_behind_it(here: Path) -> None:
    pipeline(here)
    option, environment = filled(here / "option"), filled(here / "environment")
    environ = {"CONTENDER_REGISTRY": str(environment)}
    for name in ("desk", "desk/"):
        assert found(name, registry=str(option), environ=environ)[0] == f"{option}/desk"
        assert found(name, registry=str(here / "empty"), environ=environ)[0] == f"{environment}/desk"
        assert found(name)[0] == f"{here}/pipelines/registry/desk"


def test_a_bare_name_that_is_nowhere_lists_everything_that_was_tried(here: Path) -> None:
    with pytest.raises(UsageError) as refused:
        find("desk", str(here / "empty"), {})
    for place in (
        f"--registry: nothing of that name in {here}/empty",
        "CONTENDER_REGISTRY: not set",
        "desk.yaml: no such",
    ):
        assert place in refused.value.what


def test_a_pipeline_file_gives_its_own_name_its_alias_and_its_profile(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline(here, name="front-desk", promote="{to: registry, alias: live}")
    assert found("desk") == (f"{here}/pipelines/registry/front-desk", "front-desk", "live")
    assert found("desk@staging")[2] == "staging"
    pipeline(here, promote="{to: s3://models/x}", more="stores: {'s3://models/': {profile: shared}}")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(here / "aws"))
    with pytest.raises(UsageError, match="shared"):
        list(find("desk", None, {}).registry.releases())


def test_a_target_names_its_live_entry_or_says_that_there_is_none(here: Path) -> None:
    root = filled(here / "reg")
    entry = find(f"{root}/desk", None, {}).live()
    assert entry == Registry(LocalStore(root), "desk").champion("production")
    with pytest.raises(UsageError, match=r"desk@staging names no release yet") as refused:
        find(f"{root}/desk@staging", None, {}).live()
    assert "production" in refused.value.fix


# --- what verify was given ---


def pulled(here: Path) -> Path:
    target = find(f"{filled(here / 'reg')}/desk", None, {})
    target.registry.fetch(target.live().release, here / "model")
    return here / "model"


def test_a_pulled_folder_is_a_folder_also_where_it_lost_its_manifest(here: Path) -> None:
    folder = pulled(here)
    assert folder_or_target("model", None, {}) == folder_or_target("model/", None, {}) == Path("model")
    (folder / "contender.json").unlink()
    assert folder_or_target("model", None, {}) == Path("model")
    with pytest.raises(Damaged, match=r"holds a model and no contender\.json"):
        verify_folder(folder)


def test_a_folder_that_is_no_release_is_a_name_where_one_is_found_and_else_a_folder(here: Path) -> None:
    root = filled(here / "reg")
    assert isinstance(folder_or_target(f"{root}/desk", None, {}), Target), "the registry's own folder"
    (here / "desk").mkdir()
    assert isinstance(folder_or_target("desk", str(root), {}), Target)
    assert folder_or_target("desk", None, {}) == Path("desk")
    with pytest.raises(UsageError, match=r"desk holds no contender\.json"):
        verify_folder(Path("desk"))
    with pytest.raises(UsageError, match="no registry found"):
        folder_or_target("nothing", None, {})
