"""No test depends on the clock: a slow machine is not a failure."""

from hypothesis import settings

settings.register_profile("leelight", deadline=None)
settings.load_profile("leelight")
