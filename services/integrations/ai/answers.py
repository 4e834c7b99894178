"""What a model answers, so that it can be shown: a text that somebody has talked a model into must not send what it knows elsewhere.

An answer is plain text, but interfaces like to read such text as Markdown or HTML, and an image that loads by itself tells whoever serves it
what stands in its address.
"""

import re

# Where a link or an image of Markdown comes together (CommonMark 0.31 §6.3, §4.7), and where a tag of HTML begins.
_JOINTS = re.compile(r"(?<=\])(?=[(\[:])|<(?=[A-Za-z/!?])")


def inert(text: str) -> str:
    """The same to read, but as Markdown or HTML it has no images, tags or links other than addresses that can be seen in full."""
    return _JOINTS.sub(lambda joint: f"{joint[0]} ", text)
