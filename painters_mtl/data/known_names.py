"""Names of styles, genres and parts of a split that a folder or a cell may hold.

The styles and genres are WikiArt's, with some of museums; a name is compared by `name_key` ("Ukiyo_e" is "Ukiyo-e").
"""

import re
from collections.abc import Collection
from functools import cache

from painters_mtl.data.values import name_key, word_set

_STYLES = """
Abstract Art, Abstract, Abstract Expressionism, Abstractionism, Academic Art, Academicism, Action Painting,
Aestheticism, American Impressionism, American Realism, Amsterdam Impressionism, Analytical Cubism, Analytical
Realism, Art Brut, Art Deco, Art Informel, Art Nouveau, Art Nouveau (Modern), Arte Povera, Ashcan School, Automatic
Painting, Avant-garde, Barbizon, Barbizon School, Baroque, Bauhaus, Biedermeier, Byzantine, Byzantine Art,
Cartographic Art, Classicism, Cloisonnism, Cobra, Color Field, Color Field Painting, Colour Field Painting, Conceptual
Art, Concretism, Concrete Art, Constructivism, Contemporary, Contemporary Art, Contemporary Realism, Costumbrismo,
Cubism, Cubo-Expressionism, Cubo-Futurism, Dada, Dadaism, De Stijl, Divisionism, Dutch Golden Age, Early Christian,
Early Renaissance, Environmental (Land) Art, Existential Art, Expressionism, Fantastic Realism, Fauvism, Feminist Art,
Figurative Expressionism, Flemish Baroque, Futurism, Geometric Abstraction, Gongbi, Gothic, Gothic Art, Graffiti, Hard
Edge Painting, High Renaissance, Hudson River School, Hyper-Realism, Hyperrealism, Ilkhanid, Impressionism, Indian
Space Painting, Ink and Wash Painting, International Gothic, Intimism, Japanese Art, Japonism, Japonisme, Joseon
Dynasty, Kinetic Art, Kitsch, Land Art, Les Nabis, Lettrism, Light and Space, Lowbrow Art, Luminism, Lyrical
Abstraction, Magic Realism, Mail Art, Mannerism, Mannerism (Late Renaissance), Mechanistic Cubism, Medieval, Medieval
Art, Metaphysical Art, Minimalism, Miserablism, Modern, Modern Art, Modernism, Modernismo, Mosan Art, Mughal Painting,
Muralism, Mexican Muralism, Nabis, Naive Art, Naive Art (Primitivism), Nanga (Bunjinga), Nas-Taliq, Native Art,
Naturalism, Neo-baroque, Neo-Byzantine, Neo-Concretism, Neo-Dada, Neo-Expressionism, Neo-Figurative Art, Neo-Geo,
Neo-Gothic, Neo-Impressionism, Neo-Minimalism, Neo-Pop Art, Neo-Rococo, Neo-Romanticism, Neoclassicism, Neoplasticism,
New Casualism, New European Painting, New Objectivity, New Realism, Nihonga, Northern Renaissance, Nouveau Realisme,
Op Art, Orientalism, Orphism, Orphic Cubism, Ottoman Period, Outsider Art, Perceptism, Photorealism, Pointillism, Pop
Art, Post-Impressionism, Post-Minimalism, Post-Painterly Abstraction, Poster Art Realism, Postmodernism,
Pre-Raphaelite, Pre-Raphaelites, Pre-Raphaelitism, Pre-Raphaelite Brotherhood, Precisionism, Primitivism, Proto
Renaissance, Purism, Rayonism, Realism, Regionalism, Renaissance, Rococo, Romanesque, Romantic, Romanticism, Safavid
Period, Shin-hanga, Social Realism, Socialist Realism, Sosaku hanga, Spatialism, Spectralism, Street Art, Suprematism,
Surrealism, Symbolism, Synchromism, Synthetic Cubism, Synthetism, Tachisme, Tenebrism, Timurid Period, Tonalism,
Transautomatism, Transavantgarde, Tubism, Ukiyo-e, Verism, Viking Art, Western Medieval, Yamato-e, Zen
"""
_GENRES = """
Abstract, Abstract Painting, Advertisement, Allegorical Painting, Allegory, Animal Painting, Animals, Architecture,
Battle Painting, Bijinga, Bird-and-flower Painting, Calligraphy, Capriccio, Caricature, Cityscape, Cloudscape, Design,
Everyday Life, Figurative, Figurative Painting, Figure, Flower Painting, Flowers, Genre Painting, Genre Scene,
Historical, History Painting, History, Icon, Illustration, Interior, Kacho-e, Landscape, Landscapes, Literary
Painting, Marina, Marine, Miniature, Mythological Painting, Mythology, Nude, Nude Painting, Nude Painting (nu), Nudes,
Panorama, Pastorale, Pastoral, Poster, Portrait, Portraits, Quadratura, Religious, Religious Art, Religious Painting,
Scenery, Seascape, Seascapes, Self-portrait, Self-portraits, Shan Shui, Sketch and Study, Still Life, Still Lifes,
Still-lives, Symbolic Painting, Tessellation, Trompe-l'oeil, Urushi-e, Vanitas, Veduta, Wildlife, Wildlife Painting,
Yakusha-e
"""


def _keys(names: str) -> frozenset[str]:
    return frozenset(name_key(name) for name in names.replace("\n", " ").split(", "))


STYLES, GENRES = _keys(_STYLES), _keys(_GENRES)
_ONE_WORD = {kind: {key.replace(" ", "") for key in keys} for kind, keys in (("style", STYLES), ("genre", GENRES))}

_PARTS = {
    "train": "train training trn",
    "validation": "validation valid val dev devel development eval evaluation",
    "test": "test testing tst holdout",
}
_PART_OF = {word: part for part, words in _PARTS.items() for word in words.split()}
# What may stand beside the name of a part ("Train Data", "seg_train", "test_set"), or alone for no class at all.
_BESIDE = word_set("""
a art artwork artworks backup backups cache class classes crop cropped data dataset db file files full fullsize folder
images image imgs img input inputs jpeg jpegs jpg jpgs label labels large list master medium metadata info annotations
original originals painting paintings part photo photos picture pictures pics png pngs raw resized scaled seg set sets
small split splits the temp thumbnail thumbnails thumbs tiles tmp wikiart
""")


SHARD = re.compile(r"-\d+-of-\d+$")  # of a table that Hugging Face wrote in pieces: train-00000-of-00002


@cache
def part_of_name(name: str) -> str:
    """The part of a split that the name of a folder, table or cell stands for: "train", "validation", "test", or "".

    >>> [part_of_name(name) for name in ("Train Data", "seg_test", "training_set", "dev", "train_1", "Trainer")]
    ['train', 'test', 'train', 'validation', 'train', '']
    """
    name = SHARD.sub("", name)
    words = [word for word in name_key(_between_cases(name)).split() if not word.isdecimal()]
    joined = [
        w for word in words for w in re.sub(r"(?<=.)(set|data|images|imgs)$", r" \1", word.rstrip("0123456789")).split()
    ]
    parts = [_PART_OF[word] for word in joined if word in _PART_OF]
    rest = [word for word in joined if word not in _PART_OF and word not in _BESIDE]
    return parts[0] if len(parts) == 1 and not rest else ""


@cache
def is_generic_folder(name: str) -> bool:
    """Whether a folder's name says nothing of the paintings in it: images, resized, img_256, part2, jpg."""
    words = name_key(_between_cases(name)).split()
    sizes = [word for word in words if re.fullmatch(r"\d+x\d+|\d+px", word)]
    others = [word for word in words if word not in sizes and not word.isdecimal()]
    return bool(others or sizes) and all(word.rstrip("0123456789") in _BESIDE for word in others)


def _between_cases(name: str) -> str:
    """TrainData as Train Data."""
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name)


def kind_of_name(name: str) -> set[str]:
    """{"style"}, {"genre"}, both ("abstract") or neither: what a well-known name is the name of."""
    key = name_key(_between_cases(name))
    return {
        kind
        for kind, keys in (("style", STYLES), ("genre", GENRES))
        if key in keys or key.replace(" ", "") in _ONE_WORD[kind]
    }


def kind_of_names(names: Collection[str]) -> tuple[str, list[str]]:
    """What most of the names are, "style" or "genre", or "" where under half are known; and the names that are not."""
    kinds = {name: kind_of_name(name) for name in names}
    counts = {kind: sum(kind in kinds_of_name for kinds_of_name in kinds.values()) for kind in ("style", "genre")}
    best = max(counts, key=lambda kind: counts[kind])
    if not names or counts[best] * 2 < len(names):
        return "", [name for name in names if not kinds[name]]
    return best, [name for name in names if best not in kinds[name]]
