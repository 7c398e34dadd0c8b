"""Out-of-scope precision: of the rows that are called out of scope, the share that is.

0 where there is no such row.
"""

from __future__ import annotations

from contender.evaluation.metrics import _scope
from contender.evaluation.scope import SAID


class OutOfScopePrecision(_scope.ScopeMetric):
    description = __doc__
    of = SAID
    where = 1.0
