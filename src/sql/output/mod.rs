//! Values as Postgres prints them: for the wire, and for casts to text.

pub mod datetime;
pub mod number;
pub mod style;
