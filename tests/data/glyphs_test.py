"""Letters and numerals in the fonts that matplotlib carries."""

import matplotlib
import numpy as np
from matplotlib.ft2font import FT2Font
from PIL import Image

from advknow import data
from advknow.data import glyphs
from advknow.data.framing import ink_box

NUMERALS = {
    **{"0": "zero", "1": "one", "2": "two", "3": "three", "4": "four"},
    **{"5": "five", "6": "six", "7": "seven", "8": "eight", "9": "nine"},
}
FONTS = [font for fonts in glyphs.FONTS.values() for font in fonts]


def _few(**how):
    return glyphs.load(data_dir=None, image_size=28, **{"per_font": 2, **how})


def test_no_font_is_in_two_parts_and_none_is_of_symbols():
    assert len(FONTS) == len(set(FONTS)) == 21
    families = {
        part: {font.split("-")[0] for font in fonts} for part, fonts in glyphs.FONTS.items()
    }
    assert not families["train"] & families["test"]
    assert not families["train"] & families["validation"]
    for name in FONTS:
        font = FT2Font(f"{matplotlib.get_data_path()}/fonts/ttf/{name}.ttf")
        for character in (*glyphs.LETTERS, *glyphs.DIGITS):
            # Symbol fonts have a glyph here too, but not one of that name.
            glyph = font.get_glyph_name(font.get_char_index(ord(character)))
            numeral = NUMERALS.get(character)
            assert glyph in (character, numeral), (name, character, glyph)


def test_as_many_of_each_class_and_font_as_promised():
    splits = _few(characters=("A", "Q", "7"))
    assert [len(part) for part in splits] == [66, 24, 36]
    for (part, fonts), dataset in zip(glyphs.FONTS.items(), splits, strict=True):
        assert dataset.class_names == ("A", "Q", "7")
        assert {id_.split("/")[1] for id_ in dataset.ids} == set(fonts), part
        for label, id_ in zip(dataset.labels, dataset.ids, strict=True):
            assert id_.split("/")[2] == dataset.class_names[label]
    assert len(set(np.concatenate([part.ids for part in splits]))) == 126
    assert data.info("glyphs").class_names == tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
    assert data.info("glyphs/digits").class_names == tuple("0123456789")


def test_an_image_depends_on_its_font_letter_and_seed_alone():
    both, alone = _few(characters=("A", "B")), _few(characters=("B",), per_font=1)
    chosen = data.select_classes(both.test, ("B",))
    first = np.flatnonzero(np.char.endswith(chosen.ids, "/0"))
    np.testing.assert_array_equal(chosen.images[first], alone.test.images)
    assert chosen.ids[first].tolist() == alone.test.ids.tolist()
    other = _few(characters=("B",), per_font=1, seed=1)
    assert (other.test.images != alone.test.images).any(axis=(1, 2, 3)).all()
    two = [image.tobytes() for image in both.train.images]
    assert len(set(two)) == len(two)


def _middle(image):
    top, bottom, left, right = ink_box(np.asarray(image)[..., None], 0)
    return (left + right) / 2, (top + bottom) / 2


def test_a_letter_is_scaled_turned_and_shifted_about_the_middle():
    side = 2 * glyphs.FINER * glyphs.SIZE
    canvas = np.zeros((side, side), np.uint8)
    # A bar of 12 x 6 pixels, the top right quarter of it missing.
    f, middle = glyphs.FINER, side // 2
    canvas[middle - 3 * f : middle + 3 * f, middle - 6 * f : middle + 6 * f] = 255
    canvas[middle - 3 * f : middle, middle : middle + 6 * f] = 0
    plain = np.asarray(glyphs._moved(Image.fromarray(canvas), 1.0, (0.0, 0.0), 0.0))
    expected = np.zeros((28, 28), np.uint8)
    expected[11:17, 8:20] = 255
    expected[11:14, 14:20] = 0
    np.testing.assert_array_equal(plain, expected)

    def moved(scale=1.0, shift=(0.0, 0.0), turn=0.0):
        return np.asarray(glyphs._moved(Image.fromarray(canvas), scale, shift, turn))

    np.testing.assert_array_equal(moved(turn=np.pi / 2), np.rot90(plain))
    np.testing.assert_array_equal(moved(shift=(3.0, -2.0)), np.roll(plain, (-2, 3), (0, 1)))
    half = moved(scale=0.5)
    assert ink_box(half[..., None], 127) == (12, 16, 11, 17) or half[12, 11] > 0
    assert abs(half.astype(int).sum() / plain.astype(int).sum() - 0.25) < 0.02


def test_the_ink_lies_in_the_frame():
    splits = _few(characters=("A", "I", "M", "W", "0"), per_font=5)
    every = np.concatenate([part.images for part in splits])
    assert (every.max(axis=(1, 2, 3)) > 200).all()
    for image in every:
        across, down = _middle(image[..., 0])
        # 2 by the shift, and by the turn half of what a letter's box grows on one side.
        assert abs(across - 14) < 5
        assert abs(down - 14) < 5
    border = [image[[0, -1]].any() or image[:, [0, -1]].any() for image in every]
    # The widest letters of bold fonts, turned and shifted, may touch it.
    assert np.mean(border) < 0.15


def test_unseen_fonts_can_be_read():
    from sklearn.linear_model import LogisticRegression

    splits = _few(characters=glyphs.DIGITS, per_font=8)
    train, _, test = ((p.pixels().reshape(len(p), -1), p.labels) for p in splits)
    score = LogisticRegression(max_iter=100).fit(*train).score(*test)
    # 0.1 by chance; of the fonts that were seen more than this.
    assert score > 0.6
