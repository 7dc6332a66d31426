"""Tests of the native init: the real binaries, plain and under sanitizers."""
