"""`python -m cojax` is the command `cojax`."""

import sys

from .app.cli import main

sys.exit(main())
