"""What is fenced in a README."""

import re

FENCE = re.compile(r"^```(\w*)\n(.*?)^```", flags=re.DOTALL | re.MULTILINE)


def blocks(path, language):
    """The bodies of a README's blocks in that language."""
    return [body for found, body in FENCE.findall(path.read_text()) if found == language]
