"""Names of nodes, which go through jit, vmap and grad with the arrays that they belong to."""

from collections.abc import Iterable, Iterator, Sequence

import equinox as eqx


class Names(eqx.Module, Sequence):
    """The names of all nodes, in the order of the rows: a sequence of texts, and a pytree without arrays."""

    texts: tuple[str, ...] = eqx.field(static=True)

    def __init__(self, names: Iterable[object]):
        self.texts = tuple(map(str, names))

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, place):
        return self.texts[place]

    def __iter__(self) -> Iterator[str]:
        return iter(self.texts)

    def __repr__(self) -> str:
        return repr(list(self.texts))
