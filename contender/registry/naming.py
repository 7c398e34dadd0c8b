"""What people call a release: REGISTRY_URL/pipeline, with @alias or @release behind, or without the URL
where its registry is known otherwise.
"""

from __future__ import annotations

from contender.errors import UsageError
from contender.registry.layout import check_name, is_release_id

DEFAULT_ALIAS = "production"
FORMS = "Give REGISTRY_URL/name, or a bare name and --registry URL."


def name_parts(name: str) -> tuple[str | None, str, str | None]:
    """Registry, pipeline, and alias or release of a NAME, each None where the NAME leaves it to be looked up.

    Only the last part can hold an alias: folders have an @ in their names, too.
    """
    scheme, separator, rest = name.rpartition("://")
    head, slash, last = rest.rstrip("/").rpartition("/")
    plain, at, alias = last.partition("@")
    if separator and not slash:
        raise UsageError(
            f"{name!r} names no pipeline in a registry", f"{FORMS} For example: s3://bucket/prefix/tickets"
        )
    if not plain:
        raise UsageError(f"{name!r} holds no pipeline's name", FORMS)
    check_name("pipeline", plain)
    if at and not is_release_id(alias):
        check_name("alias", alias)
    root = f"{scheme}{separator}{head}" if head else f"{scheme}{separator}/"
    return root if slash else None, plain, alias if at else None
