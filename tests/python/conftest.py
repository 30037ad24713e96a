"""What holds for every test."""

import signal

from hypothesis import HealthCheck, settings

# Machines that run tests are busy ones: an example that takes long is no failure.
settings.register_profile("genglossary_runs", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("genglossary_runs")

# A shell has what it runs in the background ignore Ctrl-C, and so would each process that a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)
