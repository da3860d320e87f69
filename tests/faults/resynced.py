"""The operator, but for one thing: it compares what it knows with the cluster every ten seconds.

The product does so every five minutes, and waits for 45 s for what is on its way: longer than a test should of what is
noticed by nothing else.
"""

from __future__ import annotations

import sys

from tierwise.kube import reflector
from tierwise_cli.main import main
from tierwise_operator import informer

RESYNC_SECONDS, HEARD_SECONDS = 10.0, 5.0

if __name__ == "__main__":
    vars(informer).update(RESYNC_SECONDS=RESYNC_SECONDS, HEARD_SECONDS=HEARD_SECONDS)
    vars(reflector).update(RELIST_SECONDS=RESYNC_SECONDS)
    sys.exit(main())
