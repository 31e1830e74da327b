"""Problems whose rows are not the caller's: in the order of devices, or with rows that hold no node."""

from typing import Any, NoReturn

from .._support.checks import CojaxInputError
from .._support.trees import Tree
from .membership import Attended
from .problem import Problem, copy_fields, remade


class ShardedProblem(Problem):
    """A problem whose rows are not the caller's: it would judge a decision in the caller's order by other nodes' data.

    A run asks it for the problem of a step, which is none of these.
    """

    def start(self, params: Tree = None, cpu: Any = None):
        self.refuse("Problem.start")

    def refuse(self, owner: str) -> NoReturn:
        """What `owner`, who was given it, has to say."""
        raise CojaxInputError(
            f"{owner} needs the problem that was given to cojax.shard, got that which it returned, with its nodes in "
            "the order of the devices; keep yours under a name of its own."
        )


class PaddedProblem(ShardedProblem, Attended):
    """A problem with rows that hold no node: share 0, bounds 0 and 0, no cost and no gradient; `cojax.shard` makes it.

    Their data are those of the caller's first node, and their cost is taken at its start: a point where there is one.
    """

    def at(self, k):
        return Attended(self.whole, self.data.there, self.data.harmless, self.params)


class ReorderedProblem(ShardedProblem):
    """A problem whose nodes are in an order that is not the caller's; `cojax.shard` makes it."""

    def __init__(self, problem: Problem):
        copy_fields(problem, self)

    def at(self, k):
        return remade(self)
