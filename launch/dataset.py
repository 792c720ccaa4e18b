"""The flags of the launchers that read one data set."""

from absl import flags

NAMES = (
    "digits, fashion_mnist, cifar10, stl10, mnist, glyphs or glyphs/digits; tfds:NAME, any image "
    "classification set of tensorflow-datasets; folder:PATH, a folder of images a class (PNG, "
    "JPEG, WebP), below train, validation and test or split by a fixed seed; npz:PATH, arrays x "
    "(N, H, W, C) and labels (N,)"
)
DATA_DIR = flags.DEFINE_string(
    "data_dir",
    None,
    "Where the data set lies: fashion_mnist's files, or tensorflow-datasets' folder.",
)
SKIP_DAMAGED = flags.DEFINE_bool(
    "skip_damaged",
    False,
    "Of folder:PATH, leave out damaged images and name them, in place of an error.",
)
