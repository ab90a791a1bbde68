"""seqjax: a laboratory for sequence models in JAX."""
