"""What every test shares: hypothesis without wall-clock deadlines (a first call may compile)."""

from hypothesis import HealthCheck, settings

settings.register_profile("alephtx", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("alephtx")
