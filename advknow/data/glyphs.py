"""Letters and numerals drawn from the fonts that matplotlib carries, no download.

Train, validation and test are of different families of fonts, so that a test image is a letter in
a font that was never seen, and not a letter seen at another angle. Of matplotlib's fonts these are
the ones with Latin capitals and numerals; the others (cmex10, cmsy10, STIXSiz.., LastResort, ..)
have symbols in their places, and cmmi10 has numerals of another height.
"""

import zlib
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from advknow.data.dataset import Dataset, DatasetSplits
from advknow.data.images import pad_or_resize

LETTERS = tuple("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
DIGITS = tuple("0123456789")
_STYLES = ("", "-Bold", "-Oblique", "-BoldOblique")
_SERIF_STYLES = ("", "-Bold", "-Italic", "-BoldItalic")
FONTS = {
    "train": (
        *(f"DejaVuSans{style}" for style in _STYLES),
        *(f"DejaVuSerif{style}" for style in _SERIF_STYLES),
        *("cmr10", "cmb10", "cmti10"),
    ),
    "validation": tuple(f"DejaVuSansMono{style}" for style in _STYLES),
    "test": (
        *("STIXGeneral", "STIXGeneralBol", "STIXGeneralItalic", "STIXGeneralBolIta"),
        *("cmss10", "cmtt10"),
    ),
}
SEED = 0
IMAGES_PER_FONT = 20
# In pixels of the image, and degrees; uniform between them.
SIZE, PEN_SIZES, SHIFT, TURN = 28, (18.0, 25.0), 2.0, 10.0
# Drawn so many times larger and averaged: the edges are smooth, shifts need no whole pixels.
FINER = 3


def _drawn(character: str, font: ImageFont.FreeTypeFont) -> Image.Image:
    """The character once, white on black, the middle of its ink in the middle of the image."""
    side = 2 * FINER * SIZE
    left, top, right, bottom = font.getbbox(character)
    canvas = Image.new("L", (side, side))
    at = ((side - left - right) / 2, (side - top - bottom) / 2)
    ImageDraw.Draw(canvas).text(at, character, fill=255, font=font)
    return canvas


def _moved(
    canvas: Image.Image, scale: float, shift: tuple[float, float], turn: float
) -> Image.Image:
    """The middle of the canvas in 28 x 28 pixels, after a scale, a turn and a shift.

    Args:
      canvas: FINER times as fine.
      scale: of the character. shift: to the right and down, in pixels. turn: left, in radians.
    """
    side, middle = FINER * SIZE, canvas.width / 2
    cosine, sine = np.cos(turn) / scale, np.sin(turn) / scale
    # Where in the canvas an output pixel comes from.
    x, y = (-side / 2 - FINER * s for s in shift)
    back = (
        *(cosine, -sine, middle + cosine * x - sine * y),
        *(sine, cosine, middle + sine * x + cosine * y),
    )
    moved = canvas.transform((side, side), Image.Transform.AFFINE, back, Image.Resampling.BILINEAR)
    return moved.reduce(FINER)


def _of_font(name: str, characters: Sequence[str], per_font: int, seed: int) -> np.ndarray:
    """(len(characters), per_font, 28, 28) uint8; each depends on font, character and seed alone."""
    import matplotlib

    path = f"{matplotlib.get_data_path()}/fonts/ttf/{name}.ttf"
    font = ImageFont.truetype(path, FINER * PEN_SIZES[1])
    found = np.empty((len(characters), per_font, SIZE, SIZE), np.uint8)
    for i, character in enumerate(characters):
        generator = np.random.default_rng([seed, zlib.crc32(name.encode()), ord(character)])
        canvas = _drawn(character, font)
        for j in range(per_font):
            scale = generator.uniform(PEN_SIZES[0] / PEN_SIZES[1], 1.0)
            shift = (generator.uniform(-SHIFT, SHIFT), generator.uniform(-SHIFT, SHIFT))
            turn = np.deg2rad(generator.uniform(-TURN, TURN))
            found[i, j] = np.asarray(_moved(canvas, scale, shift, turn))
    return found


def load(
    *,
    data_dir: str | None,
    image_size: int,
    characters: Sequence[str] = LETTERS,
    per_font: int = IMAGES_PER_FONT,
    seed: int = SEED,
) -> DatasetSplits:
    """The characters, `per_font` times in each font, at random sizes, places and angles.

    11 fonts are train, 4 validation, 6 test: 220, 80 and 120 images a class. 28 x 28 gets a margin
    of zeros to 32 x 32. The bits depend on the versions of Pillow and its FreeType.

    Args:
      data_dir: not used.
      image_size: height and width.
      characters: the classes, such as `LETTERS` or `DIGITS`.
      per_font: images of a character in a font.
      seed: of sizes, places and angles.
    """
    parts = []
    for fonts in FONTS.values():
        drawn = np.stack([_of_font(name, characters, per_font, seed) for name in fonts])
        labels = np.tile(np.repeat(np.arange(len(characters)), per_font), len(fonts))
        ids = [f"glyphs/{f}/{c}/{i}" for f in fonts for c in characters for i in range(per_font)]
        images = pad_or_resize(drawn.reshape(-1, SIZE, SIZE, 1), image_size)
        parts.append(Dataset(images, labels.astype(np.int32), tuple(characters), np.array(ids)))
    return DatasetSplits(*parts)
