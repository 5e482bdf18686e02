"""Tables of options for the guides, made from the settings themselves when the site is built (mkdocs.yml, hooks).

`<!-- options: predict -->` in a page becomes the options of that verb, a table a topic, with the words of `--help`.
`<!-- verbs -->` becomes the list of verbs.
"""

import importlib
import inspect
import re
from dataclasses import MISSING, Field, fields
from pathlib import Path
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from painters_mtl.__main__ import VERBS
from painters_mtl.common.command_line import one_paragraph_help

SETTINGS = {
    "train": ("painters_mtl.training.settings", "TrainSettings"),
    "compare": ("painters_mtl.studies.settings", "CompareSettings"),
    "describe": ("painters_mtl.describe", "DescribeSettings"),
}
TOPICS = {
    "LabelSettings": "Paintings and classes",
    "CollectionSettings": "Split",
    "InputSettings": "What the network sees",
    "DataSettings": "Cache and memory",
    "NetworkSettings": "Network",
}
TOPICS_OF_TRAINING = {
    "Run": "name models overwrite resume checkpoint_minutes dry_run",
    "Comparison": "baselines budget seeds folds strategies",
    "Several losses, one update": "strategy task_sampling monitor_conflict task_weights label_share other_painters",
    "Steps and rates": "epochs batch_size accumulate learning_rate backbone_rate weight_decay patience",
    "Labels and crops": "label_smoothing mix color balanced",
    "From trained networks": "start_from start_shared freeze freeze_epochs teachers distill teacher_weight "
    "teacher_schedule teacher_view temperature",
    "Devices": "distribute precision",
    "End of the training": "painter_known",
    "Cluster": "engine ray_address ray_cpus",
}
TOPICS_OF_OTHERS = {
    "Output": "output format resume overwrite top_k map projection",
    "Speed and memory": "runtime batch_size threads cache memory_gb",
    "Cluster": "engine ray_address ray_cpus",
}


def on_page_markdown(markdown: str, **_: Any) -> str:
    """The page with its tables in the place of the marks; called by mkdocs for each page."""
    markdown = markdown.replace("<!-- verbs -->", verbs_table())
    return re.sub(r"<!-- options: (\w+) -->", lambda match: options_tables(match[1]), markdown)


def verbs_table() -> str:
    """The verbs, each with what it does, and linked to its guide."""
    lines = ["| verb | what it does |", "|---|---|"]
    guides = Path(__file__).resolve().parents[1] / "guides"
    for verb, purpose in VERBS.items():
        name = f"[`{verb}`](guides/{verb}.md)" if (guides / f"{verb}.md").is_file() else f"`{verb}`"
        lines.append(f"| {name} | {purpose} |")
    return "\n".join(lines)


def settings_class(verb: str) -> type:
    """The dataclass that a verb's command line is made from."""
    module, name = SETTINGS.get(verb, (f"painters_mtl.{verb}", "Settings"))
    return getattr(importlib.import_module(module), name)


def options_tables(verb: str) -> str:
    """The options of a verb as Markdown, a table a topic, in the order of the settings."""
    cls = settings_class(verb)
    one_paragraph_help(cls)
    hints = get_type_hints(cls, include_extras=True)
    tables: dict[str, list[str]] = {}
    for field in fields(cls):
        tables.setdefault(topic(cls, field.name), []).append(_row(field, hints[field.name]))
    only = len(tables) == 1
    head = "| option | values | default | what it does |\n|---|---|---|---|\n"
    return "\n\n".join(("" if only else f"### {name}\n\n") + head + "\n".join(rows) for name, rows in tables.items())


def topic(cls: type, name: str) -> str:
    """Under which heading an option stands; what has no heading of its own comes under "Options"."""
    owner = next(base for base in reversed(cls.__mro__) if name in inspect.get_annotations(base))
    if owner.__name__ in TOPICS:
        return TOPICS[owner.__name__]
    training = owner.__name__ in ("TrainSettings", "CompareSettings")
    for title, names in (TOPICS_OF_TRAINING if training else TOPICS_OF_OTHERS).items():
        if name in names.split():
            return title
    return "Other options of a training" if training else "Input and model"


def _row(field: "Field[Any]", hint: Any) -> str:
    """One option as a line of a table."""
    name, positional = field.name, False
    if get_origin(hint) is Annotated:
        hint, *marks = get_args(hint)
        name = next((mark.name for mark in marks if getattr(mark, "name", None)), name)
        positional = any("Positional" in repr(mark) for mark in marks)
    default = field.default if field.default_factory is MISSING else field.default_factory()
    option = name.upper() if positional else f"--{'no-' if default is True else ''}{name.replace('_', '-')}"
    cells = (f"`{option}`", _values(hint), _default(default), field.metadata.get("help", ""))
    return "| " + " | ".join(_cell(cell) for cell in cells) + " |"


def _cell(text: str) -> str:
    """Text that cannot end its cell, nor be taken for HTML or emphasis outside of code."""
    parts = re.split(r"(`[^`]*`)", text.replace("|", "\\|"))
    return "".join(p if p.startswith("`") else p.replace("<", "&lt;").replace("*", "\\*") for p in parts)


def _values(hint: Any) -> str:
    """What may stand behind an option."""
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Literal:
        return ", ".join(f"`{choice}`" for choice in arguments)
    if origin is dict:
        return f"NAME={_values(arguments[1])} ..."
    if origin is tuple:
        return f"{_values(arguments[0])} ..."
    if arguments and (origin is Union or type(hint).__name__ == "UnionType"):
        return " or ".join(dict.fromkeys(_values(part) for part in arguments if part is not type(None)))
    return {bool: "", int: "whole number", float: "number", str: "text", Path: "path"}.get(hint, str(hint))


def _default(value: Any) -> str:
    """The default as it would be typed; nothing for none and for switches."""
    if value is MISSING:
        return "(required)"
    if value is None or isinstance(value, bool) or value in ((), {}, ""):
        return ""
    if isinstance(value, tuple):
        return f"`{' '.join(map(str, value))}`"
    return f"`{value}`"
