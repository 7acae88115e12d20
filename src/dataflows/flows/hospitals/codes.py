"""The names of everything that can be wrong with a file; docs/hospitals-csv.md explains each of them."""

from __future__ import annotations

from typing import Literal

FileError = Literal[
    "encoding",
    "empty_file",
    "no_header",
    "missing_column",
    "duplicate_column",
    "unknown_column",
    "no_rows",
    "too_many_rows",
    "record_too_long",
    "blank_lines",
    "sep_line",
]
"""The file as a whole cannot be used, whatever its rows are."""

QuoteError = Literal["blank_before_quote", "quote_in_field", "text_after_quote", "unclosed_quote"]
"""One row cannot be read; where it is not sure where that row ends, the file as a whole cannot be used."""

RowError = Literal[
    "field_count",
    "header_repeated",
    "required",
    "too_short",
    "too_long",
    "control_character",
    "phone_characters",
    "phone_digits",
]
"""One row cannot be sent; the others can."""

Warned = Literal["duplicate_row", "invisible_character", "blank_lines", "sep_line"]
"""Strange, but no error."""

Error = FileError | QuoteError | RowError
