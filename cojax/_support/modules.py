"""A module as JAX takes it: its arrays are leaves, and its functions, flags and names belong to its structure."""

from typing import Any

import equinox as eqx
import jax

from .checks import CojaxInputError
from .reprs import brief

Tree = Any  # a pytree
OWN = ("arrays", "rest")  # the fields of a `Parted`


class Rest:
    """What of a module is no array, compared and hashed by its content: programs are compiled for it."""

    def __init__(self, tree: Tree):
        self.tree = tree

    def _content(self) -> tuple:
        leaves, kind = jax.tree.flatten(self.tree)
        return kind, tuple((type(leaf), leaf) for leaf in leaves)  # 1 is True to Python, but no flag

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Rest) and self._content() == other._content()

    def __hash__(self) -> int:
        return hash(self._content())


class Parted(eqx.Module):
    """A module of which some leaves are no arrays, called and read as the module itself.

        start = problem.start(params=models)  # n stacked copies of an `equinox.nn.MLP`, its activation among them
        jax.vmap(lambda model, rows: jax.vmap(model)(rows))(solution.x.params, features)
        solution.x.params.layers[0].weight  # (n, width, d)

    JAX refuses a function among the leaves of what it compiles, so it is part of the structure here. `Problem` makes
    one of its cost and `Problem.start` of params; `module` is what they were given, with the arrays of now.
    """

    arrays: Any  # the module, None in place of all that is no array
    rest: Rest = eqx.field(static=True)  # the module, None in place of its arrays

    @property
    def module(self) -> Any:
        """The module itself, as Equinox knows it."""
        return eqx.combine(self.arrays, self.rest.tree)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.module(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        # What Python or JAX ask every object for is not the module's, and fields are missing while one is being made.
        if name in OWN or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.module, name)

    def __repr__(self) -> str:
        return brief(self.module)


def is_array(leaf: Any) -> bool:
    """Whether a leaf is an array of JAX or NumPy, known, traced, or only described."""
    return hasattr(leaf, "shape") and hasattr(leaf, "dtype")


def is_number(leaf: Any) -> bool:
    """Whether a leaf is an array or a plain number, which JAX makes one; a flag is none."""
    return is_array(leaf) or (isinstance(leaf, int | float | complex) and not isinstance(leaf, bool))


def part_module(owner: str, node: Any, dynamic: Any) -> Any:
    """A pytree as it is where `dynamic` holds of all its leaves, else a `Parted`."""
    if all(map(dynamic, jax.tree.leaves(node))):
        return node
    arrays, rest = eqx.partition(node, dynamic)
    try:
        hash(kept := Rest(rest))
    except TypeError as error:
        raise CojaxInputError(
            f"{owner} needs modules whose other parts Python can hash, got one in {type(node).__name__} that it cannot "
            f"({error}): JAX compiles for them; make it a tuple, or keep it out of the module."
        ) from error
    return Parted(arrays, kept)


def arrays_only(owner: str, tree: Tree) -> Tree:
    """`tree` with every module in it that holds functions, flags or numbers of Python as a `Parted`.

    A function by itself becomes a `jax.tree_util.Partial`, which has no leaf.
    """

    def part(node: Any) -> Any:
        if isinstance(node, eqx.Module | jax.tree_util.Partial):
            return part_module(owner, node, is_array)
        return jax.tree_util.Partial(node) if callable(node) and not is_array(node) else node

    return jax.tree.map(part, tree, is_leaf=lambda node: isinstance(node, eqx.Module | jax.tree_util.Partial))
