//! The parts of a time that have fractions.

/// A part that has fractions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// Seconds of the minute.
    Second,
    /// Milliseconds of the minute.
    Millisecond,
    /// Microseconds of the minute.
    Microsecond,
    /// All seconds.
    Epoch,
}

impl Part {
    /// Finds a part by its name.
    pub fn named(name: &str) -> Option<Part> {
        Some(match name.to_ascii_lowercase().as_str() {
            "second" | "seconds" | "sec" | "secs" | "s" => Part::Second,
            "millisecond" | "milliseconds" | "mseconds" | "ms" | "msec" | "msecs" => {
                Part::Millisecond
            }
            "microsecond" | "microseconds" | "useconds" | "us" | "usec" | "usecs" => {
                Part::Microsecond
            }
            "epoch" => Part::Epoch,
            _ => return None,
        })
    }
}
