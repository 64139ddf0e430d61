"""The conformance suite: one body, run in both worlds, keeps the two kernels one kernel."""
