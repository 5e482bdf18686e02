"""What the folders between the data folder and an image say: a part of a split, a class, or nothing.

levels = resolve_folders({"training_set/training_set/Claude_Monet": 12, "test_set/Claude_Monet": 3})
levels.parts      # {"training_set/training_set/Claude_Monet": "train", "test_set/Claude_Monet": "test"}
levels.classes    # {...: ("Claude_Monet",), ...}
"""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from painters_mtl.data.known_names import is_generic_folder, part_of_name
from painters_mtl.data.values import clean_label, name_key

STRAY = 0.1  # of the images in class folders: so many may lie on a level above the others


@dataclass(frozen=True)
class FolderLevels:
    """For each folder that holds images: its part of a split, and the names of the levels that may be classes."""

    parts: dict[str, str]  # "train", "validation", "test" or ""
    classes: dict[str, tuple[str, ...]]  # () for images that lie above all classes
    odd: tuple[str, ...]  # names of parts, or such as "images", that stand beside classes
    images: Mapping[str, int]  # how many lie in the folder itself

    def depth(self) -> int:
        """How many levels of classes all images have that are in a class folder at all; 0 without class folders."""
        return min((len(names) for names in self.classes.values() if names), default=0)

    def depth_of_most(self) -> int:
        """The same for nine tenths of these images: a cover may lie beside the folders of a style's painters."""
        by_depth: Counter[int] = Counter()
        for folder, names in self.classes.items():
            by_depth[len(names)] += self.images[folder]
        del by_depth[0]
        enough = (1 - STRAY) * by_depth.total()
        return max((d for d in by_depth if sum(by_depth[e] for e in by_depth if e >= d) >= enough), default=0)

    def names(self, level: int = 0) -> list[str]:
        """The different names on a level, sorted."""
        return sorted({names[level] for names in self.classes.values() if len(names) > level})


def resolve_folders(folders: Mapping[str, int]) -> FolderLevels:
    """Take from each path what is no class, above and below: a folder around all others, parts of a split, "images".

    Args:
        folders: those that hold images, with the number of these.
    """
    rest = {folder: tuple(folder.split("/")) if folder else () for folder in folders}
    above: dict[str, tuple[str, ...]] = {folder: () for folder in folders}
    parts = dict.fromkeys(folders, "")
    changed = True
    while changed:
        changed = False
        tops = {names[0] for names in rest.values() if names}
        if len(tops) == 1 and any(len(names) > 1 for names in rest.values()):
            _strip(rest, above, parts, [folder for folder in folders if rest[folder]])
            changed = True
        branches: dict[tuple[str, ...], list[str]] = {}
        for folder in folders:
            branches.setdefault(above[folder], []).append(folder)
        for branch in branches.values():
            inside = [folder for folder in branch if rest[folder]]
            tops = {rest[folder][0] for folder in inside}
            plain = {top for top in tops if part_of_name(top) or is_generic_folder(top)}
            if plain and not any(clean_label(top) for top in tops - plain):  # train, test, unlabeled
                _strip(rest, above, parts, inside)
                changed = True
            elif around := _around_others([rest[folder] for folder in inside]):
                _strip(rest, above, parts, [folder for folder in inside if rest[folder][0] in around])
                changed = True
    while below := {names[1] for names in rest.values() if len(names) > 1}:
        if not all(part_of_name(name) or is_generic_folder(name) for name in below):
            break
        for folder, names in rest.items():  # Monet/train and Monet/test, Monet/images
            if len(names) > 1:
                parts[folder] = part_of_name(names[1]) or parts[folder]
                rest[folder] = (names[0], *names[2:])
    odd = {names[0] for names in rest.values() if names and (part_of_name(names[0]) or is_generic_folder(names[0]))}
    return FolderLevels(parts, rest, tuple(sorted(odd)), folders)


def _around_others(paths: Collection[tuple[str, ...]]) -> set[str]:
    """The top folders that hold, for the most part, folders called as others beside them: more/Monet beside Monet."""
    keys = {names[0]: name_key(names[0]) for names in paths}
    below: dict[str, set[str]] = {}
    for top, *names in paths:
        below.setdefault(top, set()).add(name_key(names[0]) if names else "")
    return {top for top, names in below.items() if 2 * len(names & (set(keys.values()) - {keys[top]})) > len(names)}


def _strip(
    rest: dict[str, tuple[str, ...]], above: dict[str, tuple[str, ...]], parts: dict[str, str], folders: list[str]
) -> None:
    """Take the top level away, and what it says of the part."""
    for folder in folders:
        top, *below = rest[folder]
        rest[folder], above[folder] = tuple(below), (*above[folder], top)
        parts[folder] = part_of_name(top) or parts[folder]
