"""Great Expectations' Data Docs as two pages that load nothing, run nothing and take nothing from rows as markup.

GX's own site builder is not used: its pages take styles, scripts and a logo from seven hosts, its index is drawn by one of those
scripts, it copies 4 MB of pictures, and its tables of unexpected values hold them unescaped (1.24.1). Its renderers and views
make the pages here; values are escaped before, scripts and remote files taken out after, and a policy forbids the rest.
"""

from __future__ import annotations

import copy
import html
import re
from pathlib import Path
from typing import Any

from great_expectations.core import ExpectationSuite
from great_expectations.core.expectation_validation_result import ExpectationSuiteValidationResult
from great_expectations.render.renderer import ExpectationSuitePageRenderer, ValidationResultsPageRenderer
from great_expectations.render.view import DefaultJinjaPageView

from contender.quality.engine import exception_of, quiet
from contender.records import QualityReport
from contender.text import visible

MAX_VALUE = 500  # characters of a value that a page shows
POLICY = "default-src 'none'; style-src 'unsafe-inline'; img-src data:; base-uri 'none'; form-action 'none'"

_SCRIPT = re.compile(r"<script\b.*?</script\s*>", re.DOTALL | re.IGNORECASE)
_REMOTE = re.compile(r"<(?:link|img)\b[^>]*>", re.IGNORECASE)
_HANDLER = re.compile(r"""\son\w+\s*=\s*(?:"[^"]*"|'[^']*')""", re.IGNORECASE)
_STYLE_URL = re.compile(r"url\([^)]*\)", re.IGNORECASE)
_FOOTER = re.compile(r"<footer\b.*?</footer\s*>", re.DOTALL | re.IGNORECASE)
_NAVIGATION = re.compile(r"<nav class=\"navbar.*?</nav>\s*</div>\s*</nav>", re.DOTALL)

_PAGES = (
    '<nav class="pages"><a href="index.html">Validation result</a><a href="expectations.html">Expectations</a></nav>'
)

# What bootstrap would have given: enough for columns, tables and signs to be read.
_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:0 auto;max-width:76rem;padding:0 1rem 3rem;color:#1c1f23;background:#fff}
nav.pages{padding:.8rem 0;border-bottom:1px solid #ccd;margin-bottom:1rem}
nav.pages a{margin-right:1.2rem}
table{border-collapse:collapse;width:100%;margin:.4rem 0}
td,th{border:1px solid #d5d9de;padding:.35rem .5rem;vertical-align:top;text-align:left;overflow-wrap:anywhere}
.card:has(.btn-group),.d-none.d-md-block{display:none}
.sticky{position:static}
.alert{padding:.5rem .7rem;background:#eef1f4;border-radius:4px}
.badge{border:1px solid #aab;border-radius:4px;padding:0 .35rem;font-size:90%}
.text-success{color:#137333}
.text-danger{color:#b3261e}
.text-warning{color:#8a5a00}
.fa-check-circle::before{content:"\\2713  passed"}
.fa-times::before{content:"\\2717  failed"}
.fa-exclamation-triangle::before{content:"!  not evaluated"}
h1,h2,h3,h4,h5{margin:.9rem 0 .3rem}
ul{margin:.2rem 0}
pre{white-space:pre-wrap}
"""


def write_docs(
    folder: Path, suite: ExpectationSuite, result: ExpectationSuiteValidationResult, report: QualityReport
) -> None:
    """`index.html`, the gate's verdict and the validation result, and `expectations.html`, the suite."""
    folder.mkdir(parents=True, exist_ok=True)
    with quiet():
        pages = {
            "index.html": ValidationResultsPageRenderer().render(_escaped_result(result)),
            "expectations.html": ExpectationSuitePageRenderer().render(suite),
        }
        view = DefaultJinjaPageView()
        banner = _banner(report, result)
        rendered = {
            name: _harmless(view.render(page, show_how_to_buttons=False), banner) for name, page in pages.items()
        }
    for name, text in rendered.items():
        (folder / name).write_text(text, encoding="utf-8")


def _banner(report: QualityReport, result: ExpectationSuiteValidationResult) -> str:
    """The gate's own verdict, and what Great Expectations' page does not show: expectations that did not apply, or broke, and why."""
    passed = "passed" if report.passed else "stopped the run"
    lines = [f"<p class='alert'><strong>The quality gate {passed}.</strong> {html.escape(report.message)}</p>"]
    skipped = [f"{one.expectation}: {one.observed}" for one in report.results if not one.applicable]
    lines.append(_listed("Expectations that did not apply:", skipped))
    broken = [(one.expectation_config.type, exception_of(one)) for one in result.results]
    lines.append(_listed("Could not be evaluated:", [f"{name}: {why}" for name, why in broken if why]))
    return "".join(lines)


def _listed(title: str, found: list[str]) -> str:
    items = "".join(f"<li>{html.escape(visible(text))}</li>" for text in found)
    return f"<p>{title}</p><ul>{items}</ul>" if items else ""


def _escaped_result(result: ExpectationSuiteValidationResult) -> ExpectationSuiteValidationResult:
    shown = copy.copy(result)
    shown.results = []
    for entry in result.results:
        escaped = copy.copy(entry)
        escaped.result = {
            key: _escaped(value)
            for key, value in entry.result.items()
            if key not in ("unexpected_list", "unexpected_index_list")
        }
        shown.results.append(escaped)
    return shown


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        text = value if len(value) <= MAX_VALUE else f"{value[:MAX_VALUE]}… ({len(value)} characters)"
        return html.escape(visible(text))
    if isinstance(value, dict):
        return {_escaped(key): _escaped(item) for key, item in value.items()}
    return [_escaped(item) for item in value] if isinstance(value, list | tuple) else value


def _harmless(page: str, banner: str) -> str:
    for pattern in (_SCRIPT, _FOOTER, _REMOTE, _HANDLER, _STYLE_URL):
        page = pattern.sub("", page)
    head = f'<head><meta http-equiv="Content-Security-Policy" content="{POLICY}">'
    page = page.replace("<head>", head, 1).replace("</head>", f"<style>{_STYLE}</style></head>", 1)
    # A function, not a template: a backslash in a message is no group of the pattern.
    return _NAVIGATION.sub(lambda _: _PAGES + banner, page, count=1)
