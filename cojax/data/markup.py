"""XML is read by a parser that knows no entities of the file's own, in one pass, and nothing is fetched."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from xml.parsers import expat

from .._support.checks import CojaxInputError
from .files import open_unpacked

Start = Callable[[str, list[str], dict[str, str]], Any]  # where, the tags from the root to this one, its attributes
End = Callable[[str, list[str], str], Any]  # where, the same tags, the text before the first element inside


def read_xml(path: Path, max_bytes: int, start: Start, end: End) -> None:
    """Tell `start` and `end` of every element of an XML file, without the prefixes of its tags.

    Raises `CojaxInputError` for what is not well-formed, and for a DOCTYPE, in whatever encoding.
    """
    tags: list[str] = []
    texts: list[list[str] | None] = []  # None once an element has begun inside

    def where() -> str:
        return f"{path}:{parser.CurrentLineNumber}"

    def refuse(*_: Any) -> None:
        raise CojaxInputError(f"{where()} has a DOCTYPE: its entities can blow up or read other files; remove it.")

    def opens(tag: str, attributes: dict[str, str]) -> None:
        if texts and texts[-1] is not None and "".join(texts[-1]).strip():
            firsts[len(texts) - 1] = "".join(texts[-1])
        if texts:
            texts[-1] = None
        tags.append(tag.rpartition(":")[2])
        texts.append([])
        start(where(), tags, attributes)

    def hears(text: str) -> None:
        if texts and texts[-1] is not None:
            texts[-1].append(text)

    def closes(_: str) -> None:
        parts = texts.pop()
        text = firsts.pop(len(texts), "") if parts is None else "".join(parts)
        end(where(), tags, text)
        tags.pop()

    firsts: dict[int, str] = {}  # by depth
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartDoctypeDeclHandler = refuse
    parser.StartElementHandler = opens
    parser.EndElementHandler = closes
    parser.CharacterDataHandler = hears
    try:
        with open_unpacked(path, max_bytes) as handle:
            parser.ParseFile(handle)
    except expat.ExpatError as error:
        raise CojaxInputError(
            f"{path}:{error.lineno} is no well-formed XML: {expat.ErrorString(error.code)}."
        ) from error
    except (ValueError, LookupError) as error:
        if isinstance(error, CojaxInputError):
            raise
        raise CojaxInputError(f"{path} is in an encoding that cannot be read ({error}): save it as UTF-8.") from error
