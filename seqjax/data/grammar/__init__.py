"""The synchronous English-German grammar behind the embedded translation corpus."""
