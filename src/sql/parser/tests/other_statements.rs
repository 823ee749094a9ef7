//! x.
use super::*;
