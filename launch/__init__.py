"""Command-line programs: one short main each, `python -m launch.NAME --help`."""

import sys

from launch import huge_pages

# So it is while Python looks for the module of `python -m`: this is a command, and no import.
if sys.argv[:1] == ["-m"]:
    huge_pages.start_again()
