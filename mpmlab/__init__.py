"""mpmlab: simulate and benchmark the Multi-Processing Modules of the Apache HTTP Server.

Nothing lives here but the version. ARCHITECTURE.md tells what the packages are.
"""

__version__ = "0.1.0"
