"""What a cell of a table says: clean text, or nothing where it holds a placeholder or the name of nobody."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable
from functools import cache

import pandas as pd

PAINTER_HASH = "[0-9a-f]{32}"  # a pattern: what the competition's training table has in the place of a name


def word_set(words: str) -> frozenset[str]:
    """Words with white space between them as a set."""
    return frozenset(words.split())


# What people and programs write where a value is missing, in lower case.
PLACEHOLDERS = word_set(r"""
nan na n/a n.a. n.a n/d n.d. n.d nd #n/a #na #value! #ref! #null! <na> <n/a> <nan> <null> <none> (null) (none) [null]
null nil nul none nat \n - -- --- – — _ __ ? ?? ??? . .. ... … [] {} () '' "" missing undefined unspecified tbd tba
tbc -1 -1.0
""") | {
    "not available", "not applicable", "not specified", "not known", "not given", "no data", "no value", "no label",
    "no style", "no genre",
}  # fmt: skip
_NO_TITLES = PLACEHOLDERS - {"none"}  # a work may be called so


def clean(text: str) -> str:
    """The text in Unicode NFC, with every run of white space (also non-breaking) as one space, none at the ends.

    >>> clean(" Analytical\\xa0Realism  ")
    'Analytical Realism'
    """
    if text.isascii():
        return " ".join(text.split())
    return " ".join(unicodedata.normalize("NFC", text).replace("\ufeff", "").replace("\u200b", "").split())


@cache
def name_key(text: str) -> str:
    """What two spellings of one name share: lower case, letters without accents, digits, one space between words.

    >>> name_key("Naïve_Art (Primitivism)")
    'naive art primitivism'
    """
    plain = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return " ".join(re.findall(r"[^\W_]+", plain.casefold()))


# "Unknown", in the languages of museums' catalogues, compared by `name_key`.
_UNKNOWN_WORDS = frozenset(
    name_key("""
unknown unidentified unattributed anonymous anonym anon anonymus unsigned uncredited unclassified uncategorized
uncategorised unlabeled unlabelled unsorted unbekannt unbekannte unbekannter
unbekanntes anonymer inconnu inconnue inconnus anonyme anonimo anonima anonimi desconocido desconocida desconhecido
desconhecida sconosciuto sconosciuta ignoto ignota onbekend onbekende anoniem anonieme okand okant ukjent ukendt
tuntematon nieznany nieznana neznamy neznam ismeretlen necunoscut bilinmeyen неизвестный неизвестная неизвестен
невідомий аноним
""").split()
)
_UNKNOWN_TEXTS = frozenset(["佚名", "無名", "无名", "不詳", "不详", "作者不詳", "作者不明", "不明", "작자미상", "미상"])
# What may stand beside such a word and still name no class: ArtGAN's "Unknown Genre".
_KINDS = word_set("a an the artist painter genre style movement period school class category label subject type")
_NOBODY = word_set("various other others misc miscellaneous") | {
    "n n", "not known", "no artist", "no painter", "various artists", "other artists", "other painters",
}  # fmt: skip
# What may stand beside such a word and still name nobody: "Unknown Dutch artist, 17th century".
_ROLES = frozenset(
    name_key("""
the a an of by from in or and artist artists painter painters master masters author authors creator creators maker
hand person name man woman follower circle workshop school century centuries c ca kunstler maler malerin meister autor
artiste peintre auteur maitre artista pintor pintora autore pittore pittrice maestro maestra kunstenaar schilder
meester konstnar kunstner maleren taiteilija artysta malarz umelec malir художник автор der die das ein le la l un une
el il lo uno di de den een et y e i various early late
""").split()
)
_NATIONS = frozenset(
    name_key("""
american african asian austrian australian belgian bohemian brazilian british byzantine canadian chinese cuban czech
danish dutch egyptian english european ethiopian finnish flemish florentine french german greek hungarian indian
iranian irish italian japanese korean lombard mexican netherlandish north northern norwegian ottoman persian peruvian
polish portuguese roman russian scandinavian scottish sienese south southern spanish swedish swiss tibetan turkish
tuscan ukrainian umbrian venetian western eastern central welsh america austria china egypt england europe flanders
france germany greece india iran italy japan korea mexico nepal netherlands persia peru poland portugal russia spain
switzerland tibet turkey uk usa
""").split()
)


def is_placeholder(text: str) -> bool:
    """Whether a cell that is not empty says that its value is missing: nan, NULL, n/a ..., in any case."""
    return clean(text).casefold() in PLACEHOLDERS


def is_nobody(name: str) -> bool:
    """Whether a painter's name says that the painter is not known; "Jo Unknown Smith" is somebody.

    >>> [is_nobody(name) for name in ("Unknown artist", "Anonymous (Dutch, 17th century)", "Anna Unknown")]
    [True, True, False]
    """
    if clean(name) in _UNKNOWN_TEXTS:
        return True
    words = name_key(name).split()
    rest = [word for word in words if word not in _UNKNOWN_WORDS]
    if len(rest) == len(words):
        return " ".join(words) in _NOBODY
    return all(w in _ROLES or w in _NATIONS or re.fullmatch(r"\d+(st|nd|rd|th|e|eme)?", w) for w in rest)


def mapped(column: pd.Series, function: Callable[[str], str]) -> pd.Series:
    """`function` of every value, computed once a distinct value."""
    values = {value: function(value) for value in set(column)}
    return pd.Series([values[value] for value in column], column.index, dtype=object)


def clean_label(text: str) -> str:
    """A class name, or "" for a placeholder, for "unknown", and for a list of several names.

    >>> [clean_label(text) for text in ("['Pop Art']", "NULL", "19.0", "['Cubism', 'Dada']", "Unknown Genre")]
    ['Pop Art', '', '19', '', '']
    """
    text = _one_name(clean(text))
    text = re.sub(r"^(\d+)\.0+$", r"\1", text)
    words = set(name_key(text).split()) - _KINDS
    return "" if is_placeholder(text) or (words and words <= _UNKNOWN_WORDS) else text


def _one_name(text: str) -> str:
    """The text, the only name of a list, or "" for another list, and for a record of JSON."""
    names = list_of_names(text)
    if names is not None:
        return names[0] if len(names) == 1 else ""
    return "" if is_record(text) else text


def is_record(text: str) -> bool:
    """Whether a cell holds a record, as JSON or Python write it: {"name": "Dada"}."""
    return text.startswith("{") and text.endswith("}") and ":" in text


def clean_painter(text: str) -> str:
    """A painter's name, or "" for a placeholder, for words such as "unknown" and "anonymous", and for several names."""
    text = _one_name(clean(text))
    return "" if is_placeholder(text) or is_nobody(text) else text


def clean_title(text: str) -> str:
    """A title, or "" for a placeholder and the competition's "NOT DETECTED"."""
    text = clean(text)
    return "" if text.casefold() in _NO_TITLES or text.casefold() == "not detected" else text


def clean_date(text: str) -> str:
    """A date as text; a year that was stored as 1955.0 is 1955."""
    text = clean(text)
    return "" if is_placeholder(text) else re.sub(r"^(\d+)\.0+$", r"\1", text)


def list_of_names(text: str) -> list[str] | None:
    """The names in a list as Python, pandas or JSON write it; None where the text is no list.

    >>> list_of_names("['Pop Art', 'Neo-Dada']")
    ['Pop Art', 'Neo-Dada']
    """
    if not (text.startswith("[") and text.endswith("]")):
        return None
    quoted = re.findall(r"""'((?:[^'\\]|\\.)*)'|"((?:[^"\\]|\\.)*)\"""", text[1:-1])
    names = [re.sub(r"\\(.)", r"\1", one or two) for one, two in quoted] or text[1:-1].split(",")
    return [name for name in map(clean, names) if name]


_BETWEEN_WORDS = re.compile(r"[\s_.,;:/|()\[\]{}<>«»\"'`´‘’“”„‚\-‐‑–—]+")


def spelling_key(text: str) -> str:
    """What the spellings of one class share: the words, whatever their case, accents, and what stands between them.

    Unlike in `name_key` only letters that Latin shares lose their marks, and a question mark stays: it says something.

    >>> [spelling_key(text) for text in ("Paul_Cézanne", "paul-cezanne", "'Paul Cezanne'", "Paul Cezanne?")]
    ['paul cezanne', 'paul cezanne', 'paul cezanne', 'paul cezanne?']
    """
    if not text.isascii():
        plain = re.sub("(?<=[A-Za-z])[\u0300-\u036f]+", "", unicodedata.normalize("NFD", text))
        text = unicodedata.normalize("NFC", plain)
    return " ".join(_BETWEEN_WORDS.split(text.casefold())).strip()


def one_spelling(column: pd.Series, key: Callable[[str], str] = spelling_key) -> tuple[pd.Series, dict[str, str]]:
    """The column with one spelling, the most frequent (else the first by code), of the names with the same key; and
    what became of those that differ in more than case."""
    counts = Counter(column)
    best: dict[str, str] = {}
    chosen = {name: best.setdefault(key(name) or name, name) for name in sorted(counts, key=lambda n: (-counts[n], n))}
    changed = {name: spelling for name, spelling in chosen.items() if spelling.casefold() != name.casefold()}
    return mapped(column, chosen.__getitem__), changed


def repair_mojibake(text: str) -> str:
    """The text with accents put right that WikiArt's copies on Kaggle hold as box-drawing characters.

    There the bytes of UTF-8 were read as Latin-1 and put into lower case, then read as code page 866, then as 437.

    >>> repair_mojibake("andrΓö£╨│Γö¼╨╣-lhote")
    'andré-lhote'
    """
    if text.isascii() or not re.search("[\u2500-\u257f]", text):
        return text
    try:
        latin = text.encode("cp437").decode().encode("cp866").decode()
        return latin.replace("ã", "Ã").replace("â", "Â").encode("latin-1").decode()
    except UnicodeError:
        return text
