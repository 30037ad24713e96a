"""Settings of every test."""

import signal

from hypothesis import HealthCheck, settings

# Machines that run tests are busy: a slow example is not a failure.
settings.register_profile("genglossary_runs", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("genglossary_runs")

# A shell makes background jobs ignore Ctrl-C, and every process that a test starts would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)
