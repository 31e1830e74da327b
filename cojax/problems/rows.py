"""A problem whose rows are not the caller's: in the order of devices, perhaps with rows that hold no node."""

from typing import Any, NoReturn

from .._support.checks import CojaxInputError
from .._support.trees import Tree
from .problem import Problem, Scenario


class ShardedProblem(Scenario):
    """A problem in the rows of `cojax.shard`: it would judge a decision in the caller's order by other nodes' data.

    A run asks it for the problem of a step. Fields: problem; where rows hold no node, one for those who are there, in
    which such rows have the data of the caller's first node, and their cost is taken at its start, where there is one.
    """

    problem: Problem

    @property
    def base(self):
        return self.problem

    @property
    def members(self):
        return self.problem.members

    @property
    def in_device_order(self):
        return True

    def at(self, k):
        return self.problem

    def start(self, params: Tree = None, cpu: Any = None):
        self.refuse("Problem.start")

    def refuse(self, owner: str) -> NoReturn:
        """What `owner`, who was given it, has to say."""
        raise CojaxInputError(
            f"{owner} needs the problem that was given to cojax.shard, got that which it returned, with its nodes in "
            "the order of the devices; keep yours under a name of its own."
        )
