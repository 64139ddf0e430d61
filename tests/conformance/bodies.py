"""The bodies of the conformance suite: small programs over the kernel interface, run in both worlds.

Only `mpmlab.kernel.interface` and `mpmlab.core` may be imported here. A body is a module-level
generator function `body(k, listener) -> Steps[result]`, run as the main thread of a fresh process
with a fresh listener (backlog 8 unless said). Its docstring is the property, its result (None,
numbers, strings, booleans, tuples of those) is compared with `expected`. A world runs one by

    run_body(body, backlog) -> result        (tests/conformance/real_world.py, sim_world.py)

and raises when the body raises or does not end. Tuples may come back as lists.
"""
def _exits(k, code):
    yield k.sleep(0)
    return code

def smoke(k, listener):
    pid = yield k.fork(_exits, 7)
    dead = yield k.wait(5)
    t=k.now()
    none = yield k.wait(0.05)
    return dead.pid == pid, dead.code, none, k.now()-t
