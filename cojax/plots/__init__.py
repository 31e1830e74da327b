"""Pictures of a network, its shares, and a run; matplotlib is loaded when the first one is drawn."""

from .contests import contest as contest
from .contests import profile as profile
from .contests import trials as trials
from .courses import consensus as consensus
from .courses import gap as gap
from .courses import meeting as meeting
from .economics import price_series as price_series
from .economics import rents as rents
from .economics import stacked as stacked
from .networks import network as network
from .pictures import convergence as convergence
from .pictures import parts as parts
from .pictures import prices as prices
from .pictures import scaling as scaling
from .pictures import shares as shares
from .runs import run as run
from .theories import lyapunov as lyapunov
from .theories import root_locus as root_locus
