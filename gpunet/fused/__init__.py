"""Training steps without a tape: one fused kernel between two products of matrices."""
