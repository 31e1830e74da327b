"""Names in a picture can be told apart, whatever script they are in and however long they are."""

import functools
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

PLAIN = "DejaVu Sans"  # comes with matplotlib
# Families with letters that it lacks, by how their names begin; those that are installed are tried in this order.
OTHERS = (
    *("Noto Sans CJK", "Noto Sans", "Source Han Sans", "WenQuanYi", "IPA", "VL Gothic", "TakaoGothic", "Hiragino Sans"),
    *("Yu Gothic", "Meiryo", "MS Gothic", "Microsoft YaHei", "PingFang", "Heiti", "SimHei", "SimSun", "Malgun Gothic"),
    *(
        "Apple SD Gothic",
        "AppleGothic",
        "Nanum",
        "Nirmala",
        "Leelawadee",
        "Kohinoor",
        "Lohit",
        "Arial Unicode",
        "Unifont",
    ),
)
LONGEST = 20


def node_labels(names: Sequence[str]) -> list[str]:
    """A short line for every node: its name, or `node 3` for the third where that cannot be drawn or told apart."""
    lines = [" ".join(str(name).split()) for name in names]
    cut = [line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…" for line in lines]
    alike = Counter(short for short, _ in set(zip(cut, lines, strict=True)))  # how many names each line stands for
    lost = _lost("".join(cut))
    return [f"node {row}" if alike[line] > 1 or not lost.isdisjoint(line) else line for row, line in enumerate(cut, 1)]


def renaming_note(names: Sequence[str]) -> str | None:
    """A sentence on the names that pictures do not show; None where they show all."""
    lost = _lost("".join(names))
    missing = [str(name) for name in names if not lost.isdisjoint(str(name))]
    if not missing:
        return None
    row = next(row for row, name in enumerate(names, 1) if name == missing[0])
    return (
        f"No font here has all letters of {len(missing)} names: pictures number these nodes as the node table does, "
        f"node {row} is {missing[0]}. With a font such as Noto Sans CJK they show the names."
    )


def fonts(texts: Iterable[str]) -> dict[str, Any]:
    """What a text of matplotlib needs to be told to draw `texts`; nothing where our font has all of their letters."""
    families = _families(frozenset("".join(texts)) - _letters(_path(PLAIN)))
    return {"fontfamily": [PLAIN, *families]} if families else {}


def _lost(text: str) -> set[str]:
    """The letters that no font has."""
    missing = frozenset(text) - _letters(_path(PLAIN))
    return set(missing).difference(*(_letters(_path(family)) for family in _families(missing)))


@functools.lru_cache(64)
def _families(missing: frozenset[str]) -> tuple[str, ...]:
    """Installed families that have letters which ours lacks, as few as bring all."""
    from matplotlib import font_manager

    chosen, left = [], set(missing)
    installed = {font.name for font in font_manager.fontManager.ttflist}
    for begin in OTHERS:
        for family in sorted(name for name in installed if name.startswith(begin)):
            if left and not left.isdisjoint(_letters(_path(family))):
                chosen.append(family)
                left -= _letters(_path(family))
    return tuple(chosen)


@functools.cache
def _path(family: str) -> str:
    from matplotlib import font_manager

    return str(font_manager.findfont(family))


@functools.cache
def _letters(path: str) -> frozenset[str]:
    """All characters that a font has; none where its file cannot be read any more."""
    from matplotlib import font_manager

    try:
        return frozenset(map(chr, font_manager.get_font(path).get_charmap()))
    except (OSError, RuntimeError, ValueError):
        return frozenset()
