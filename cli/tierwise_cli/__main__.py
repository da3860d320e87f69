"""Makes `python -m tierwise_cli` the command `tierwise`, where its script is not on the path."""

import sys

from tierwise_cli.main import main

sys.exit(main())
