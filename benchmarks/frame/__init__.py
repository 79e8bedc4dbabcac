"""What all benchmarks share: turns, figures, checks, a place to run in."""
