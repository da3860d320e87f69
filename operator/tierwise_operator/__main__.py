"""`python -m tierwise_operator` is `tierwise`."""

import sys

from tierwise_operator.cli import main

sys.exit(main())
