"""Benchmarks of mpmlab itself: `make benchmarks`, or `python -m benchmarks.NAME` for one."""
