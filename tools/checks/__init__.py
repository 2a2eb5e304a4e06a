"""The groups of tests behind `make check`: how each is run, and what became of each test."""
