"""Whether a snapshot is fit to train on: suites of expectations, and the gate that runs them.

Releases of Great Expectations that report their use to its makers read this when they are imported; 1.24.1 holds no such code.
"""

import os

os.environ.setdefault("GX_ANALYTICS_ENABLED", "false")
