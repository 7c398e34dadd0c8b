"""Translation: a sentence in one language in, the sentence in another one out."""

from __future__ import annotations

from contender.kinds._seq2seq import Seq2Seq

KIND = Seq2Seq("translation")
