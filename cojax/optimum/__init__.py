"""The centralised optimum, and a judgement of any answer from the problem's data alone."""

from .allocations import Allocation as Allocation
from .allocations import allocate as allocate
from .certificates import Certificate as Certificate
from .certificates import certificate as certificate
from .certificates import is_certified as is_certified
from .polishing import polish as polish
from .pricing import Sensitivities as Sensitivities
from .pricing import Shift as Shift
from .pricing import Worth as Worth
from .pricing import sensitivities as sensitivities
from .pricing import shift as shift
from .references import Reference as Reference
from .references import reference as reference
