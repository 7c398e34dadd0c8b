"""Out-of-scope recall: of the rows that are out of scope, the share that is called so.

0 where there is no such row.
"""

from __future__ import annotations

from contender.evaluation.metrics import _scope
from contender.evaluation.scope import IS


class OutOfScopeRecall(_scope.ScopeMetric):
    description = __doc__
    of = IS
    where = 1.0
