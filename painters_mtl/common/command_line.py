"""What every verb's command line shares: settings from a dataclass, errors in one sentence, exit statuses."""

import dataclasses
import errno
import io
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin

from painters_mtl.common import interrupts, messages
from painters_mtl.common.errors import UserError

S = TypeVar("S")
QUIET = "--quiet"


def run_command(
    settings_class: type[S],
    command: Callable[..., int],
    argv: Sequence[str] | None,
    prog: str,
    description: str | None = None,
    with_named: bool = False,
) -> int:
    """Parse `argv` into `settings_class` (tyro), call `command` with it and return the exit status.

    With `with_named`, `command` is called with the names of the fields that the command line names, too.
    A `UserError` becomes one line on standard error and status 2 (as does a wrong option, by argparse's custom);
    Ctrl-C and SIGTERM become 130 (`interrupts` sees to it that neither is lost); a closed pipe (`| head`) is no error.
    Every verb has the switch --quiet: no messages and no progress, only results and errors.
    """
    words = list(sys.argv[1:] if argv is None else argv)
    is_quiet = QUIET in words
    words = [word for word in words if word != QUIET]
    description = f"{description or settings_class.__doc__}\n\n{QUIET}, with any verb: print results and errors only."
    for stream in (sys.stdout, sys.stderr):  # a path that is not UTF-8 must not end a command when it is printed
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        with interrupts.watched(), messages.quiet(is_quiet):
            settings, named = parse_arguments(settings_class, words, prog, description)
            return command(settings, named) if with_named else command(settings)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except OSError as error:
        print(f"error: {_sentence(error)}", file=sys.stderr)
        return 2


def parse_arguments(
    settings_class: type[S], argv: Sequence[str] | None, prog: str, description: str | None = None
) -> tuple[S, frozenset[str]]:
    """The settings that `argv` (None: those of the process) stands for, and the fields that it names.

    A field is named also where the command line gives it its default. Raises `UserError` for values that cannot work,
    and `SystemExit` for options that do not exist.
    """
    import tyro

    one_paragraph_help(settings_class)
    words = sys.argv[1:] if argv is None else argv
    _check_addresses(words)
    with list_and_dict_rules():
        settings = tyro.cli(settings_class, args=words, prog=prog, description=description)
    return settings, named_fields(settings_class, words)


def _check_addresses(words: Sequence[str]) -> None:
    """Raise `UserError` for s3://BUCKET and the like; as a path it would lose a stroke, and be said not to be there."""
    for word in words:
        if match := re.search(r"(?:^|=)((?!ray:)[a-z][a-z0-9+.-]+://.*)", word):
            raise UserError(
                f"{match[1]} is an address, and only files and folders are read: mount it as a folder (s3fs, gcsfuse, "
                "rclone mount), or copy it here first"
            )


def _sentence(error: OSError) -> str:
    """What the system says, and a way out. Of a full disk it names no file: the error comes from the write itself."""
    what = f"{error.filename}: {error.strerror}" if error.filename else error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return f"{what}; make room, or write elsewhere (--help names the options)"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{what}; change who may use it, or name another place"
    return what


def check_numbers(settings: object, **least: int) -> None:
    """Raise `UserError` for the first option that is below the least it can be, given as batch_size=1."""
    for name, low in least.items():
        if (value := getattr(settings, name)) < low:
            bound = f"must be at least {low}" if low else "must not be negative"
            raise UserError(f"--{name.replace('_', '-')} {value} {bound}")


def check_output(option: str, file: Path, endings: Sequence[str]) -> None:
    """Refuse a file that cannot be written, before anything is computed. Raises `UserError`.

    Args:
        option: that names the file, such as "--output".
        endings: those it may have, such as ".csv", in upper or lower case; none: any.
    """
    if endings and file.suffix.lower() not in endings:
        raise UserError(f"{option} {file} must end in {' or '.join(endings)}")
    folder = file.absolute().parent
    if file.is_dir():
        raise UserError(f"{option} {file} is a folder: name a file in it")
    if not folder.is_dir():
        raise UserError(f"{option} {file} cannot be written: there is no folder {file.parent}")
    if not os.access(folder, os.W_OK):
        raise UserError(f"{option} {file} cannot be written: no permission in {folder}")


def check_engine(settings: Any) -> None:
    """Raise `UserError` for options of --engine ray that cannot work, or that the engine asked for does not have."""
    check_numbers(settings, ray_cpus=0)
    if settings.engine == "local" and (settings.ray_address or settings.ray_cpus):
        raise UserError("--ray-address and --ray-cpus are for --engine ray: add it, or leave them out")


def named_fields(settings_class: type, words: Sequence[str]) -> frozenset[str]:
    """The fields that a command line names: --batch-size=8 and --no-refit name batch_size and refit."""
    fields = {field.name for field in dataclasses.fields(settings_class)}
    options = {word[2:].partition("=")[0].replace("-", "_") for word in words if word.startswith("--")}
    return frozenset(fields & (options | {option.removeprefix("no_") for option in options}))


def one_paragraph_help(settings_class: type) -> None:
    """Give tyro each option's docstring as one paragraph; it would break it where the source does."""
    import docstring_parser

    fields = settings_class.__dataclass_fields__  # type: ignore[attr-defined]
    for base in settings_class.__mro__[:-1]:
        for parameter in docstring_parser.parse_from_object(base).params:
            if parameter.arg_name in fields and not fields[parameter.arg_name].metadata:
                fields[parameter.arg_name].metadata = {"help": " ".join((parameter.description or "").split())}


def list_and_dict_rules() -> Any:
    """Tyro's registry with rules for lists that may have commas, 512,256, and dicts with "=", painter=2.

    Spaces do as well: 512 256, and painter 2. Lists of names (tuple[str, ...]) are left to tyro: a painter's may hold a
    comma. So may a path; one that is there is not divided.
    """
    from tyro.constructors import ConstructorRegistry, PrimitiveConstructorSpec

    registry = ConstructorRegistry()

    @registry.primitive_rule
    def list_rule(info: Any) -> PrimitiveConstructorSpec | None:
        item, *more = get_args(info.type) or [str]
        if info.type_origin is not tuple or more != [Ellipsis] or item is str:
            return None
        return PrimitiveConstructorSpec(
            nargs="*",
            metavar=f"[{_metavar(item)} [{_metavar(item)} ...]]",
            instance_from_str=lambda words: tuple(_convert(part, item) for word in words for part in _parts(word)),
            is_instance=lambda value: isinstance(value, tuple),
            str_from_instance=lambda values: [str(value) for value in values],
        )

    @registry.primitive_rule
    def dict_rule(info: Any) -> PrimitiveConstructorSpec | None:
        if info.type_origin is not dict:
            return None
        _, item = get_args(info.type)
        pair = f"NAME={_metavar(item)}"
        return PrimitiveConstructorSpec(
            nargs="*",
            metavar=f"[{pair} [{pair} ...]]",
            instance_from_str=lambda words: {name: _convert(value, item) for name, value in _pairs(words)},
            is_instance=lambda value: isinstance(value, dict),
            str_from_instance=lambda values: [f"{name}={value}" for name, value in values.items()],
        )

    return registry


def _choices(item: Any) -> tuple[str, ...]:
    """What a Literal, or several, leave to choose from; nothing of other types."""
    if get_origin(item) is Literal:
        return get_args(item)
    return tuple(choice for part in get_args(item) for choice in _choices(part))


def _metavar(item: Any) -> str:
    """What stands for a value in --help."""
    return f"{{{','.join(_choices(item))}}}" if _choices(item) else "PATH" if item is Path else item.__name__.upper()


def _convert(text: str, item: Any) -> Any:
    """A value of the type `item`. Raises `ValueError`, whose text tyro prints behind the name of the option."""
    if choices := _choices(item):
        if text not in choices:
            raise ValueError(f"{text} is none of {', '.join(choices)}")
        return text
    try:
        return item(text)
    except ValueError:
        kind = "a whole number" if item is int else "a number"
        raise ValueError(f"{text} is not {kind}") from None


def _parts(word: str) -> list[str]:
    return [word] if os.path.lexists(word) else [part for part in word.split(",") if part]


def _pairs(words: Sequence[str]) -> Iterator[tuple[str, str]]:
    """painter=2 style 3 as names and values; only the first "=" divides, paths have them too."""
    rest = iter(words)
    for word in rest:
        name, equals, value = word.partition("=")
        if not equals:
            value = next(rest, "")
        if not value:
            raise ValueError(f"{name} has no value: write {name}=VALUE")
        yield name, value
