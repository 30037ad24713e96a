"""What holds for every test."""

from hypothesis import HealthCheck, settings

# Machines that run tests are busy ones: an example that takes long is no failure.
settings.register_profile("genglossary_runs", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("genglossary_runs")
