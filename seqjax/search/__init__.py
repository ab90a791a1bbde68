"""Greedy and beam search over any decoder of the contract."""
