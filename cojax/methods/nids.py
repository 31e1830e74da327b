"""NIDS: an exact method whose step does not depend on the network."""

from .exact_diffusion import ExactDiffusion
from .facts import known, two_with_room


@known("learn", "nids", bound=two_with_room, limit="nids_limit")
class NIDS(ExactDiffusion):
    """y+ = (I + W)/2 (2 y - y- - step_size * (g(y) - g(y-))),  first y+ = (I + W)/2 (y - step_size * g(y)).

    Exact with a constant step and one message a step, on a fixed graph. Stable for step_size < 2 / L_g, however badly
    the graph is connected, where EXTRA and DIGing need smaller steps. Published with an unmixed first step; mixed, the
    iterates are those of `ExactDiffusion`, and of `LEAD` with gain 1 over an ideal link. Computed as the former: in
    differences of two steps rounding adds up, in float32 to half of the answer after 200 000 steps.

    Fields: step_size, > 0, one number.
    Source: Li, Shi, Yan, IEEE TSP 2019, doi 10.1109/TSP.2019.2926022, arXiv 1704.07807.
    """
