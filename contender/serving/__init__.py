"""Releases at work: `load` gives one that answers, `Follower` keeps the one at hand that an alias names."""

from contender.kinds.base import Labelled, Model, Prediction
from contender.serving.follower import Follower, Live, Status
from contender.serving.model import load

__all__ = ["Follower", "Labelled", "Live", "Model", "Prediction", "Status", "load"]
