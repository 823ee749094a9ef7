//! SQL to a read-only streaming plan.
