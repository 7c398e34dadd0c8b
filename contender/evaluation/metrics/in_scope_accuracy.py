"""In-scope accuracy: of the rows that are in scope, the share whose prediction is the label; to call one out of scope is wrong.

0 where there is no such row.
"""

from __future__ import annotations

from contender.evaluation.metrics import _scope
from contender.evaluation.scope import IS


class InScopeAccuracy(_scope.ScopeMetric):
    description = __doc__
    of = IS
    where = 0.0
