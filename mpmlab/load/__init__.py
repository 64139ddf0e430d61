"""The load side: clients over the kernel interface, and the record of what they saw.

Floor 3: imports core, kernel.interface and workload only. The same text runs in the simulated world
(beside a simulated server) and in the real one (mpmlab.real.load_process).
"""
