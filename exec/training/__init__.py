"""Training: gradients through a whole model under JAX, with respect to its float initializers."""
