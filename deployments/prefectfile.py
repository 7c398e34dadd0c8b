"""`contender deploy --write FILE`: the deployments as a prefect.yaml, for teams that deploy everything by `prefect deploy`.

The pipelines' folder is left to the environment of that command, so that the file says the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from contender.errors import UsageError
from contender.spec import Pipeline
from deployments.declared import Declared, declared
from deployments.deploy import load_pipelines, refuse_local_places

if TYPE_CHECKING:
    from prefect.client.schemas.actions import DeploymentScheduleCreate

FOLDER = "CONTENDER_FOLDER"
HEAD = f"""\
# Written by: contender deploy --write
# {FOLDER} is the folder that it was written in, as the workers see it:
#     {FOLDER}=$PWD prefect --no-prompt deploy --all --prefect-file THIS_FILE
# Then run: contender deploy PIPELINE… It adds what no prefect.yaml can say: what continues crashed runs, and that
# the UI's quick run has nothing to ask for.
"""


def prefect_yaml(paths: Sequence[Path], pool: str, root: Path, *, elsewhere: bool = False) -> str:
    """The file's text; `root` is the folder that CONTENDER_FOLDER stands for, and the pipelines lie below it."""
    import yaml  # type: ignore[import-untyped]  # the reader that Prefect has: ruamel writes numbers that it takes for text

    pipelines = load_pipelines(paths)
    if elsewhere:
        refuse_local_places(pipelines, f"the workers of the pool {pool!r} are on other machines")
    deployments = [
        _entry(one, path)
        for path, pipeline in pipelines.items()
        for one in declared(_below(root, path, pipeline), pool)
    ]
    text = yaml.safe_dump({"deployments": deployments}, sort_keys=False, allow_unicode=True, width=120)
    return HEAD + str(text)


def _below(root: Path, path: Path, pipeline: Pipeline) -> Pipeline:
    """The pipeline with a folder that begins with the placeholder."""
    folder = Path(pipeline.folder)
    if not folder.is_relative_to(root.resolve()):
        raise UsageError(f"{path} does not lie below {root}", "Change to a folder that holds all of the pipelines.")
    below = PurePosixPath(f"{{{{ ${FOLDER} }}}}", folder.relative_to(root.resolve()))
    return pipeline.model_copy(update={"folder": str(below)})


def _entry(one: Declared, path: Path) -> dict[str, Any]:
    """A deployment in the words of prefect.yaml."""
    fields = one.fields
    for place, text in _texts(fields["parameters"], "parameters"):
        if "{{" in text and place != "parameters.spec.folder":
            raise UsageError(
                f"{path}: {place} holds {{{{, which prefect deploy takes for a placeholder",
                f"Use: contender deploy {path}",
            )
    entry = {
        "name": one.name,
        "entrypoint": one.entrypoint,
        "description": fields["description"],
        "tags": fields["tags"],
        "work_pool": {"name": fields["work_pool_name"], "job_variables": fields["job_variables"]},
        "pull": fields["pull_steps"],
        "enforce_parameter_schema": fields["enforce_parameter_schema"],
        "schedules": [_schedule(schedule) for schedule in one.schedules],
        "parameters": fields["parameters"],
    }
    if "concurrency_limit" in fields:
        strategy = fields["concurrency_options"].collision_strategy.value
        entry["concurrency_limit"] = {"limit": fields["concurrency_limit"], "collision_strategy": strategy}
    return entry


def _schedule(one: DeploymentScheduleCreate) -> dict[str, Any]:
    timing = one.schedule.model_dump(mode="json", exclude={"day_or"})
    kept = {"slug": one.slug, "active": one.active, "parameters": one.parameters}
    return {name: value for name, value in (kept | timing).items() if value != {}}


def _texts(value: Any, place: str) -> Iterator[tuple[str, str]]:
    """Every text in it, keys among them, and where it stands."""
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, dict):
        for key, inner in value.items():
            yield f"{place}.{key}", str(key)
            yield from _texts(inner, f"{place}.{key}")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(inner, f"{place}[{number}]")
