"""Tuning by the gradient of whole runs, and whether such gradients can be trusted."""

from .edge_weights import EdgeWeights as EdgeWeights
from .ensembles import distances as distances
from .gradients import GradientCheck as GradientCheck
from .gradients import gradient_check as gradient_check
from .gradients import slope_check as slope_check
from .knobs import Knob as Knob
from .knobs import Number as Number
from .knobs import PerNode as PerNode
from .knobs import PerStep as PerStep
from .objectives import Area as Area
from .objectives import Bits as Bits
from .objectives import Deadline as Deadline
from .objectives import Final as Final
from .objectives import Looks as Looks
from .objectives import Objective as Objective
from .objectives import Rounds as Rounds
from .objectives import Seconds as Seconds
from .resolutions import Resolution as Resolution
from .searches import History as History
from .searches import Tuning as Tuning
from .searches import tune as tune
