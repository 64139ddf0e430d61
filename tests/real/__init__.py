"""Tests of the real world: what the conformance suite does not say because it is Unix's own."""
