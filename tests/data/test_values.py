"""What a cell says: clean names, and nothing for placeholders and painters whom nobody knows."""

import csv

import pandas as pd
import pytest

from painters_mtl.data.csv_table import read_csv
from painters_mtl.data.values import (
    clean,
    clean_label,
    clean_painter,
    is_nobody,
    is_placeholder,
    name_key,
    one_spelling,
    repair_mojibake,
)


def names_in(text: str) -> list[str]:
    """Names with bars between them, on several lines."""
    return [" ".join(name.split()) for name in text.split("|")]


@pytest.mark.parametrize(
    ("raw", "wanted"),
    [
        ("Analytical\xa0Realism", "Analytical Realism"),
        ("Naïve Art (Primitivism)", "Naïve Art (Primitivism)"),
        ("Nai\u0308ve", "Naïve"),
        ("  Ivan \t Bilibin\n", "Ivan Bilibin"),
        ("\ufeffname\u200b", "name"),
        ("", ""),
    ],
)
def test_clean(raw, wanted):
    assert clean(raw) == wanted


PLACEHOLDER_CELLS = """
nan | NaN | NAN | NULL | null | n/a | N/A | NA | none | None | NONE | <NA> | #N/A | - | -- | ? | ??? | \\N | N.A.
| missing | Undefined | not available |  nan  | [] | N/D | no data | .
"""


@pytest.mark.parametrize("text", names_in(PLACEHOLDER_CELLS))
def test_placeholders_are_no_label_whatever_the_case(text):
    assert is_placeholder(text)
    assert clean_label(text) == clean_painter(text) == ""


NAMES_WITH_SUCH_A_WORD = """
Nan Goldin | Na Hye-sok | Emil Nolde | Nil Gleyen | None Such | Anon Vale | Dash Snow | Q. Mark | Missing Smith
"""


@pytest.mark.parametrize("name", names_in(NAMES_WITH_SUCH_A_WORD))
def test_a_name_that_holds_such_a_word_is_a_name(name):
    assert clean_painter(name) == name


NOBODY = """
unknown | Unknown | UNKNOWN | Unknown artist | Artist unknown | Unknown (Dutch, 17th century) | anonymous |
Anonymous master | anon. | Unidentified | unidentified painter | Unbekannt | Unbekannter Künstler | Inconnu |
Artiste inconnu | Anonyme | Anónimo | anonimo | Desconocido | Autor desconocido | Sconosciuto | Ignoto |
Onbekend | okänd konstnär | Неизвестный художник | 佚名 | Unknown_Artist | n.n. | Unattributed | The unknown
master | Various | Other | others | Misc. | unsorted | Unlabeled
"""


@pytest.mark.parametrize("name", names_in(NOBODY))
def test_unknown_painters_are_no_label(name):
    assert is_nobody(name)
    assert clean_painter(name) == ""


SOMEBODY = """
Jo Unknown Smith | Anna Unknown | Master of the Unknown Letters | Ignoto Lucia | Anonymous Bosch | Ion Incognito
| Unknown Mortal Orchestra | Master of Flémalle | The Dutch Master Painters Guild of Haarlem | Painter | William
Anon
"""


@pytest.mark.parametrize("name", names_in(SOMEBODY))
def test_unknown_as_a_word_within_a_name_is_a_name(name):
    assert clean_painter(name) == name


@pytest.mark.parametrize("text", ["unknown", "Unknown Genre", "unclassified style", "['Cubism', 'Dada']", "[]"])
def test_labels_that_say_nothing_or_too_much(text):
    assert clean_label(text) == ""


@pytest.mark.parametrize(
    ("text", "label"),
    [("['Pop Art']", "Pop Art"), ('["Op Art"]', "Op Art"), ("17.0", "17"), ("17.5", "17.5"), ("no", "no")],
)  # fmt: skip
def test_labels(text, label):
    assert clean_label(text) == label


def test_no_painter_of_the_real_table_counts_as_nobody(paintings):
    """Whoever reads the names sees none but people; a rule that took one away would say so here."""
    with (paintings / "pbn64" / "all_data_info.csv").open(encoding="utf-8", newline="") as file:
        names = {row["artist"] for row in csv.DictReader(file)}
    assert len(names) > 2000
    assert [name for name in names if name.strip() and clean_painter(name) == ""] == []


@pytest.mark.parametrize(
    ("one", "other"),
    [("Ukiyo-e", "Ukiyo_e"), ("Naïve Art (Primitivism)", "Naive_Art_Primitivism"), ("DÜRER", "Du\u0308rer")],
)  # fmt: skip
def test_keys_of_names(one, other):
    assert name_key(one) == name_key(other) != ""


def test_mojibake_is_undone():
    for word in ("andré-lhote", "joaquín-sorolla", "antónio", "félix-del-marle", "plain", "Γ"):
        latin = word.encode().decode("latin-1").lower()  # as in the copies of WikiArt on Kaggle
        broken = word if word.isascii() or word == "Γ" else latin.encode().decode("cp866").encode().decode("cp437")
        assert repair_mojibake(broken) == word


def test_one_spelling_is_the_most_frequent():
    column = pd.Series(["monet", "Monet", "Monet", "DEGAS", "Degas"], dtype=object)
    spelt, changed = one_spelling(column)
    assert spelt.tolist() == ["Monet"] * 3 + ["DEGAS"] * 2
    assert not changed  # another case says nothing


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("Paul Cézanne", "paul-cezanne", True),
        ("Post_Impressionism", "Post-Impressionism", True),
        ("„Edgar Degas“", "Edgar Degas", True),
        ("J. M. W. Turner", "J.M.W. Turner", True),
        ("Rembrandt?", "Rembrandt", False),
        ("after Rembrandt", "Rembrandt", False),
        ("が", "か", False),
        ("हिन्दी", "हन्दा", False),
        ("???", "!!!", False),
    ],
)
def test_names_that_are_one_class_in_other_spellings(one, other, same):
    spelt, changed = one_spelling(pd.Series([one, one, other]))
    assert (spelt[2] == one) is same
    assert changed == ({other: one} if same else {})


def test_no_two_names_of_the_real_tables_are_confused(paintings):
    """Of all 103,250 rows, one painter and one leaked title are there in two spellings."""
    rows = read_csv(paintings / "pbn64" / "all_data_info.csv", [])
    changed = [one_spelling(rows[name].map(clean))[1] for name in ("artist", "style", "genre")]
    assert changed[0]["- Franz Kline"] == "Franz Kline"
    assert [len(names) for names in changed] == [2, 0, 0]
