"""Workloads: a scenario file and a seed become one explicit plan of every session and request.

Floor 3. Imports core and the standard library and numpy, nothing else of ours; no clock and no
network. `scenario.load_scenario` reads and validates the TOML file, `compile.compile_plan` draws
every random number that the load needs, and `plan.Plan` is the data that drives every engine: the
same arrays go to the real servers, to the simulator and to httpd.

A scenario has one or more groups of clients (`clients.ClientKind` says how they behave); each has
arrivals: drawn (`processes`, `arrivals`) or replayed (`accesslog` and `replay`, `har` and
`har_replay`).
"""
