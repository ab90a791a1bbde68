"""Greedy and beam search with any decoder."""
