//! Values as Postgres prints them: for the wire, and for casts to text.

pub mod datetime;
pub mod number;
pub mod style;

#[cfg(test)]
mod testing {
    use bytes::BytesMut;

    /// What a writer writes, as text.
    pub fn text(write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8(out.to_vec()).unwrap()
    }
}
