"""Greedy search, beam search and sampling with any decoder."""
