"""Kinds that read pictures and sounds: what they learn, how they resume, and what they answer to whom."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fitting_media import StopsAt, train
from media import image_base, media_job, pictures, write_set

from contender.errors import DataError, ModelError, UsageError
from contender.files import describe_files
from contender.kinds import kind
from contender.records import ReleaseManifest
from contender.training.monitor import Stopped
