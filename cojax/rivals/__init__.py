"""Methods that need more of a node than one gradient a step: a local minimiser, a capacity, or tokens.

Each is a plain loop: a function that returns the decision after every step, steps first. Shares are (n,): one kind of
resource. `cojax.rivals.rival` makes one ready for `cojax.compare`.
"""

from .barrier_method import barrier_method as barrier_method
from .base import Rival as Rival
from .d_admm import d_admm as d_admm
from .dual_consensus_admm import dual_consensus_admm as dual_consensus_admm
from .dual_gradient_tracking import dual_gradient_tracking as dual_gradient_tracking
from .equal_utilisation import equal_utilisation as equal_utilisation
from .local import adjacency as adjacency
from .mirror_extra import mirror_extra as mirror_extra
from .quantized_descent import quantized_descent as quantized_descent
from .ready import ALLOCATORS as ALLOCATORS
from .ready import FOR_FIXED as FOR_FIXED
from .ready import LEARNERS as LEARNERS
from .ready import rival as rival
from .token_averaging import token_averaging as token_averaging
