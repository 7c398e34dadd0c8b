"""Which keys of a pipeline name a place on one machine: what a worker elsewhere would not find, or find to be something else."""

from __future__ import annotations

from pathlib import Path

from contender.files import expanded, is_folder
from contender.names import RELEASE_BASE
from contender.notifications import every_receiver
from contender.registry.naming import name_parts
from contender.spec import Pipeline


def local_places(pipeline: Pipeline) -> dict[str, str]:
    """Dotted key → value, defaults among them; buckets, hub ids, packages and variables of the environment are everybody's."""
    spec = pipeline.spec
    locations = {"workspace": spec.workspace, "data.source": spec.data.source, "promote.to": spec.promote.to}
    locations |= {f"data.golden.{name}": location for name, location in spec.data.golden.items()}
    secrets = {"promote.signing_key": spec.promote.signing_key or ""}
    if spec.selection is not None:
        secrets["selection.api_key"] = spec.selection.api_key or ""
    if spec.triggers.webhook is not None:
        secrets |= {f"triggers.webhook.secrets[{n}]": one for n, one in enumerate(spec.triggers.webhook.secrets)}
    secrets |= {f"notify.to {one}": one for one in every_receiver(spec.notify)}
    several = len(spec.model.bases) > 1
    named = {f"model.base[{n}]" if several else "model.base": base for n, base in enumerate(spec.model.local)}
    if spec.compress.distill:
        named["compress.distill.to"] = spec.compress.distill.to
    base = {key: place for key, place in named.items() if is_local_base(place, Path(pipeline.folder))}
    return (
        {key: location for key, location in locations.items() if not location.startswith("s3://")}
        | base
        | {key: reference for key, reference in secrets.items() if reference.startswith("file:")}
    )


def is_local_base(base: str, folder: Path) -> bool:
    """Whether a run on this machine would read the base model from a folder of its own."""
    from contender.models import HUB_ID

    if base.startswith("package:"):
        return False
    if base.startswith(RELEASE_BASE):
        url, _, _ = name_parts(base.removeprefix(RELEASE_BASE))
        return url is not None and not url.startswith("s3://")
    return base.startswith((".", "/", "~")) or is_folder(folder / expanded(base)) or not HUB_ID.match(base)
