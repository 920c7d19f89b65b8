"""Settings of all tests."""

from hypothesis import HealthCheck, settings

# How fast a machine is, or how busy, is no property of what is tested.
settings.register_profile("any machine", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("any machine")
