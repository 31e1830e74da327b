"""Tables as a spreadsheet would read them."""

import csv


def rows(path):
    """The lines of a CSV file, by column."""
    with path.open(newline="", encoding="utf-8") as handle:
        return list(csv.DictReader(handle))
