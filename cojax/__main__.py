"""`python -m cojax` is the command `cojax`."""

import sys

from .cli import main

sys.exit(main())
