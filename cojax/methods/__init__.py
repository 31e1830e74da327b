"""The list of methods: a new one is one file, and one line here."""

from .apapc import APAPC as APAPC
from .atc_tracking import ATCTracking as ATCTracking
from .base import Hold as Hold
from .base import Method as Method
from .choco import Choco as Choco
from .coopt import CoOpt as CoOpt
from .dgd import DGD as DGD
from .diging import DIGing as DIGing
from .exact_diffusion import ExactDiffusion as ExactDiffusion
from .extra import EXTRA as EXTRA
from .finite_time import FiniteTime as FiniteTime
from .fixed_time import FixedTime as FixedTime
from .heavy_ball import HeavyBall as HeavyBall
from .laplacian import Laplacian as Laplacian
from .lead import LEAD as LEAD
from .local_steps import LocalSteps as LocalSteps
from .momentum_flow import MomentumFlow as MomentumFlow
from .nesterov import Nesterov as Nesterov
from .nids import NIDS as NIDS
from .push_diging import PushDIGing as PushDIGing
from .push_pull import PushPull as PushPull
from .saturated import Saturated as Saturated
from .scheduled import Scheduled as Scheduled
from .single_bit import SingleBit as SingleBit
from .streaming_steps import StreamingSteps as StreamingSteps
from .tracking_momentum import TrackingMomentum as TrackingMomentum

__all__ = [name for name, value in globals().items() if callable(value)]  # pyright: ignore[reportUnsupportedDunderAll]
