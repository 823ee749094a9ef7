//! State of operators, base relations and retained rows.
