"""What a folder is taken for, and what is refused because it is not clear."""

import pytest
from folders import draw

from painters_mtl.common.errors import UserError
from painters_mtl.data.catalog import read_catalog


@pytest.mark.parametrize("images", [["a.jpg"], ["one/a.jpg", "b.jpg"], ["train/a.jpg", "test/b.jpg"]])
def test_an_unknown_layout_names_the_three(tmp_path, images):
    draw(*(tmp_path / name for name in images))
    with pytest.raises(UserError, match=r"train_info\.csv.*labels\.csv.*sub-folder.*it has .*images"):
        read_catalog(tmp_path)


@pytest.mark.real
def test_pictures_without_labels_are_refused(paintings):
    with pytest.raises(UserError, match="75 images"):
        read_catalog(paintings / "originals")
