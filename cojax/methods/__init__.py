"""The list of methods: a new one is one file, and one line here."""

from .base import Hold as Hold
from .base import Method as Method
from .coopt import CoOpt as CoOpt
from .dgd import DGD as DGD
from .diging import DIGing as DIGing
from .extra import EXTRA as EXTRA
from .heavy_ball import HeavyBall as HeavyBall
from .laplacian import Laplacian as Laplacian
