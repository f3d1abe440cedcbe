"""A partner's node: everything here runs on the partner's own machine and reads the partner's own rules.

Records enter through `clients.ingest`, lie in `clients.store`, and never leave. What may leave (a protected update, a
noised table) is decided here, and nobody outside can loosen it.
"""
