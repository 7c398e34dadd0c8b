"""BLEU of the whole set by characters, sacreBLEU's with the tokenizer `char`: for languages without spaces between words. 0 to 1.

As bleu, with characters for words: Chinese, Japanese, Thai. Its values are higher than those by words, and compare with no others.
"""

from __future__ import annotations

from typing import ClassVar

from contender.evaluation.metrics import _bleu, _texts


class BleuChar(_bleu.Bleu):
    description = __doc__
    tokenizer = "char"
    known: ClassVar[dict[bytes, _texts.Row]] = {}
