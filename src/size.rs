//! Sizes as people write them: `65536`, `512 kB`, `64MB`, in steps of 1024.

/// Units with their bytes, greatest first.
const UNITS: [(&str, u64); 5] =
    [("TB", 1 << 40), ("GB", 1 << 30), ("MB", 1 << 20), ("kB", 1 << 10), ("B", 1)];

/// Returns a number of bytes; letters may be large or small, and `KiB` is `kB`.
pub fn parse(text: &str) -> Option<u64> {
    let text = text.trim();
    let unit_at = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let unit = unit.to_ascii_lowercase().replace("ib", "b");
    let factor = match unit.as_str() {
        "" => 1,
        unit => UNITS.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit))?.1,
    };
    let number: u64 = number.trim().replace('_', "").parse().ok()?;
    number.checked_mul(factor).filter(|bytes| i64::try_from(*bytes).is_ok())
}

/// Prints a size in the greatest unit that leaves no rest.
pub fn print(bytes: u64) -> String {
    match UNITS.iter().find(|(_, factor)| bytes.is_multiple_of(*factor)) {
        Some((unit, factor)) => format!("{}{unit}", bytes / factor),
        None => bytes.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_have_units_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("65_536", 65_536),
            ("1 B", 1),
            ("64 kB", 64 << 10),
            ("64MB", 64 << 20),
            ("2 gib", 2 << 30),
            ("1TB", 1 << 40),
        ] {
            assert_eq!(parse(text), Some(bytes), "{text}");
        }
        for text in ["", "MB", "-1", "1.5 MB", "1 XB", "1 M B", "9000000 TB"] {
            assert_eq!(parse(text), None, "{text}");
        }
        assert_eq!(
            (print(64 << 20), print(1_000), print(3 << 10)),
            ("64MB".into(), "1000B".into(), "3kB".into())
        );
    }
}
