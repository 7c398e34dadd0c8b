"""While a training runs elsewhere, a thread imports what the evaluation needs: nobody meets it half done."""

from __future__ import annotations

import subprocess
import sys

import pytest

WARMED = """
import sys
from pathlib import Path
from time import sleep
from contender.stages.model import _warming_up

with _warming_up("tabular-classification", Path("none")):
    pass
while "transformers" not in sys.modules:
    sleep(0.001)
import transformers
print(transformers.PreTrainedTokenizerBase.__name__)
"""


@pytest.mark.slow
def test_what_comes_after_the_training_finds_transformers_whole() -> None:
    done = subprocess.run([sys.executable, "-P", "-c", WARMED], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "PreTrainedTokenizerBase", done.stderr[-2000:]
