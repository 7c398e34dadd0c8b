"""BLEU of the whole set, sacreBLEU's with its own tokenizer 13a: for languages that put spaces between words. 0 to 1.

How many runs of one to four words of the predictions stand in their references, less a penalty for brevity. It says nothing of
one row: the sums over all rows are compared. For Chinese, Japanese and Thai there is bleu_char.
"""

from __future__ import annotations

from typing import ClassVar

from contender.evaluation.metrics import _bleu, _texts


class Bleu13a(_bleu.Bleu):
    description = __doc__
    tokenizer = "13a"
    known: ClassVar[dict[bytes, _texts.Row]] = {}
