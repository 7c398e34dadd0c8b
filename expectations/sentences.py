"""How the custom expectations say themselves in Data Docs and in reports."""

from __future__ import annotations

from typing import Any, ClassVar

from great_expectations.render import LegacyRendererType, RenderedStringTemplateContent
from great_expectations.render.renderer.renderer import renderer


class Sentence:
    """Renders an expectation as its `sentence`, a `$name` template over its kwargs."""

    sentence: ClassVar[str]

    @classmethod
    @renderer(renderer_type=LegacyRendererType.PRESCRIPTIVE)  # type: ignore[untyped-decorator]
    def _prescriptive_renderer(
        cls,
        configuration: Any = None,
        result: Any = None,
        runtime_configuration: dict[str, Any] | None = None,
        **_: Any,
    ) -> list[RenderedStringTemplateContent]:
        if configuration is None and result is not None:
            configuration = result.expectation_config
        given = dict(configuration.kwargs) if configuration is not None else {}
        fields = {name: field.default for name, field in cls.__fields__.items()}  # type: ignore[attr-defined]
        params = {name: _short(value) for name, value in {**fields, **given}.items()}
        styling = (runtime_configuration or {}).get("styling")
        template = {"template": cls.sentence, "params": params, "styling": styling}
        return [RenderedStringTemplateContent(content_block_type="string_template", string_template=template)]


def _short(value: Any) -> Any:
    """Sets of labels can have thousands of members: the first few and their number say enough."""
    if isinstance(value, dict | list | tuple | set) and len(value) > 8:
        return f"{', '.join(str(item) for item in list(value)[:8])}, … ({len(value)} in all)"
    if isinstance(value, dict | list | tuple | set):
        return ", ".join(str(item) for item in value)
    return value
