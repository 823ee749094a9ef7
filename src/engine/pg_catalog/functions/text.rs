//! Functions on text that Postgres has and DataFusion has not.

use super::{Function, int_arg};

pub(super) fn functions() -> Vec<Function> {
    vec![Function::text("pg_size_pretty", |args| Some(size_pretty(int_arg(args, 0)?)))]
}

/// Prints a number of bytes in the unit in which it has up to five digits, as Postgres does.
fn size_pretty(bytes: i64) -> String {
    const UNITS: [&str; 6] = ["bytes", "kB", "MB", "GB", "TB", "PB"];
    /// Up to here the smaller unit is used.
    const LIMIT: i64 = 10 * 1024;
    let (mut size, mut unit) = (bytes, 0);
    while size.abs() >= LIMIT && unit + 1 < UNITS.len() {
        size = (size + 512 * size.signum()) / 1024;
        unit += 1;
    }
    format!("{size} {}", UNITS[unit])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_read_as_in_postgres() {
        assert_eq!(size_pretty(0), "0 bytes");
        assert_eq!(size_pretty(10_239), "10239 bytes");
        assert_eq!(size_pretty(10_240), "10 kB");
        assert_eq!(size_pretty(50_000_000), "48 MB");
    }
}
