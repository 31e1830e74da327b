"""A network whose edges keep books, so that nothing is lost however messages fare."""

from typing import Any

from .faulty import FaultyNetwork, changed, check_network


def Ledger(network: Any) -> FaultyNetwork:
    """A network with one-directional faults on which, at every step, what nodes hold and what is on its way is kept.

    One end of every edge, the lower in number, owns it. In a step in which it hears something new from the other end it
    takes its own part of the flow and adds it to a counter of all it ever gave along the edge; the other end receives
    the difference between the newest counter that reached it and the one before. A counter says all that earlier ones
    said, so a message may be lost, late, doubled or overtaken: shares plus what is on its way are the budget, bit for
    bit, and trackers plus what is on its way are the gradients, to rounding; `x.cpu` alone need not sum to the budget.
    This holds while no share, and nothing that is on its way along one edge, grows beyond 64 times (float32: 16 times)
    the largest share at the start. Without faults the shares are those of the network itself. Old news make no proof of
    a stable step; those tuned without faults were the best of their fractions up to 20 steps of delay
    (`benchmarks/cost_of_faults.py`), as an owner that hears nothing new does not move.

    Args: network, undirected, with any faults, of which `LossyOneWay`, `Delayed`, `Reordered`, `Duplicated`,
    `Corrupted`, `Crashing` and `Scripted` need a ledger, and with the link `Ideal`, `Quantized` or `ErrorFeedback`.
    Where a plain network sends a message each way, a message travels to the owner and a counter, in full precision,
    back. Raises `CojaxInputError` for directed networks and for links whose receivers remember: `Innovation` and
    `EventTriggered`.
    Source: running sums over links that drop packets: Dominguez-Garcia, Hadjicostis, Vaidya, arXiv 1109.6391; here one
    end computes the flow, so that every edge keeps the sum by itself.
    """
    check_network("Ledger", network, "an edge without a second end has nobody to keep its books with")
    return changed(network, ledger=True)
