"""How the error that a held-out set's whole life may cost is spent, look by look."""

from __future__ import annotations

import math


def alpha_of(look: int, confidence: float) -> float:
    """What look number `look` (1, 2, …) at a generation may spend: (1 − confidence)·6/(π²k²), which sums to 1 − confidence.

    Later looks get less, but never nothing: nobody has to know in advance how often a schedule will look.
    """
    return (1 - confidence) * 6 / (math.pi**2 * look**2)
