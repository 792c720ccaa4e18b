"""Command-line programs: one short main each, `python -m launch.NAME --help`."""

import sys

from launch import huge_pages

# What Python says while it looks for the module of `python -m`: a command, and no import.
if sys.argv[:1] == ["-m"]:
    huge_pages.start_again()
