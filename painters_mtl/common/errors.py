"""The two exceptions that are meant for the user, and how paths and reasons are shown."""

from collections import Counter
from collections.abc import Iterable

REASONS = (
    "missing",
    "no permission",
    "read error",
    "empty",
    "not an image",
    "unsupported format",
    "truncated",
    "damaged",
    "too large",
    "damaged zip",
)


class UserError(Exception):
    """Something the user can put right: one sentence that names the thing at fault and the way out.

    The command line prints it without a traceback and ends with status 2.
    """


class Unreadable(Exception):
    """A picture that is refused: `reason` is one of `REASONS`, `detail` says more, `path` is the file as shown."""

    def __init__(self, reason: str, detail: str = "", path: str = ""):
        super().__init__(reason, detail, path)  # all three, so that it can be pickled
        self.reason, self.detail, self.path = reason, detail, path

    @property
    def in_words(self) -> str:
        """The reason, with the detail in brackets where there is one."""
        return f"{self.reason} ({self.detail})" if self.detail else self.reason

    def __str__(self) -> str:
        return f"{display_path(self.path) or 'the picture'} cannot be read: {self.in_words}"


def reason_of(error: str) -> str:
    """The reason alone, of an error as `Unreadable.in_words`: "empty" of "empty (0 bytes)"."""
    return error.split(" (")[0]


def may_pass(error: str) -> bool:
    """Whether a picture that could not be read may be readable the next time, the file being the same.

    Args:
        error: as `Unreadable.in_words`, or its reason alone.
    """
    return reason_of(error) in ("missing", "no permission", "read error")


def count_reasons(errors: Iterable[str]) -> str:
    """Why pictures could not be read, counted: "3 empty, 1 not an image"; each error as `Unreadable.in_words`."""
    counts = Counter(map(reason_of, errors))
    return ", ".join(f"{n:,} {reason}" for reason, n in counts.most_common())


def display_path(path: str) -> str:
    """A path as it can be printed anywhere: on one line, bytes that are not UTF-8 as escapes."""
    text = path.encode("utf-8", "backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def first_line(error: BaseException, most: int = 160) -> str:
    """The first line of a library's error, in at most so many characters; the error's type where it says nothing."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:most]


def shorten(error: BaseException) -> str:
    """An error of a library in at most 100 characters."""
    text = display_path(str(error)) or type(error).__name__
    return text if len(text) <= 100 else text[:99] + "…"
