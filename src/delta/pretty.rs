//! Text tables to deltas and back, for tests and debugging.
