"""Summarization: a text in, its summary out."""

from __future__ import annotations

from contender.kinds._seq2seq import Seq2Seq

KIND = Seq2Seq("summarization")
