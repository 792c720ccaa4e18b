"""The flag of the launchers that measure: how much memory a program may take."""

from absl import flags

LIMIT_GIB = flags.DEFINE_float(
    "memory_limit_gib",
    None,
    "GiB that a measuring program may take on a device: a batch size that does not fit is refused, "
    "with one that does; by default only a batch size of 0 is fitted, to what is free.",
)
