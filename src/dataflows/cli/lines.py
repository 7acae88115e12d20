"""How a line is printed."""

from __future__ import annotations

import errno
import os
from typing import TextIO

_NO_READER = (errno.EPIPE, errno.EINVAL)  # Windows says that the argument is invalid


def write_line(text: str, stream: TextIO) -> None:
    """Print a line at once. When its reader has gone, it goes nowhere: the work and the exit code still count."""
    try:
        print(text, file=stream, flush=True)
    except OSError as error:
        if error.errno not in _NO_READER:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
