"""Command-line programs: one short main each, `python -m launch.NAME --help`."""
