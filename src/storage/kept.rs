//! A delta that may be spilled.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;

use super::scratch::{Extent, Scratch};
use super::state::{
    KnownHash, Misfit, Page, Result as Saved, StateReader, StateWriter, rows_of_bytes,
    rows_to_bytes,
};
use super::store::Store;
use crate::delta::{Delta, Instants, batch, codec};
use crate::time::Timestamp;

/// A delta in memory, or in the scratch file, where it is an Arrow IPC stream. Its instants stay in
/// memory.
#[derive(Clone, Debug)]
pub struct Kept {
    place: Place,
    rows: usize,
    ts: Instants,
    /// Bytes of its rows in memory when they are there.
    bytes: usize,
    /// The hash of its rows as a page, once an image has it.
    hash: KnownHash,
}

#[derive(Clone, Debug)]
enum Place {
    Here(Box<Delta>),
    Spilled(Arc<Extent>, SchemaRef),
}

impl Kept {
    /// A delta, in memory.
    pub fn new(delta: Delta) -> Self {
        let bytes = delta.bytes();
        let (rows, ts) = (delta.len(), delta.ts().clone());
        Self { place: Place::Here(Box::new(delta)), rows, ts, bytes, hash: KnownHash::default() }
    }

    /// Returns the instant of row `i`.
    pub fn ts_at(&self, i: usize) -> Timestamp {
        self.ts.at(i)
    }

    /// The delta, which is read if it is spilled.
    pub fn get(&self) -> Result<Cow<'_, Delta>, ArrowError> {
        match &self.place {
            Place::Here(delta) => Ok(Cow::Borrowed(delta.as_ref())),
            Place::Spilled(extent, schema) => read(extent, schema).map(Cow::Owned),
        }
    }

    /// Whether it is in the scratch file.
    pub fn is_spilled(&self) -> bool {
        matches!(self.place, Place::Spilled(..))
    }
}

impl Store for Kept {
    fn memory(&self) -> usize {
        let instants = self.rows * size_of::<i64>();
        if self.is_spilled() { instants } else { self.bytes + instants }
    }

    fn spilled(&self) -> usize {
        match &self.place {
            Place::Here(_) => 0,
            Place::Spilled(extent, _) => extent.length(),
        }
    }

    fn spill(&mut self, scratch: &Arc<Scratch>, _: usize) -> io::Result<usize> {
        let Place::Here(delta) = &self.place else { return Ok(0) };
        let bytes = written(delta).map_err(io::Error::other)?;
        let extent = Arc::new(scratch.write(&bytes)?);
        self.place = Place::Spilled(extent, delta.schema());
        Ok(self.bytes)
    }

    fn rows(&self) -> usize {
        self.rows
    }

    fn save(&self, to: &mut StateWriter) -> Saved<()> {
        match &self.place {
            Place::Here(delta) => {
                let rows = codec::encode(delta).map_err(|error| Misfit(error.to_string()))?;
                to.put_page(Page::rows(rows, &self.hash))
            }
            Place::Spilled(extent, _) => to.put_page(Page::spilled(extent, &self.hash)),
        }
    }

    fn load(&mut self, from: &mut StateReader) -> Saved<()> {
        *self = Self::new(from.take_delta()?);
        Ok(())
    }
}

fn written(delta: &Delta) -> Result<Vec<u8>, ArrowError> {
    rows_to_bytes(&codec::encode(delta)?)
}

fn read(extent: &Extent, schema: &SchemaRef) -> Result<Delta, ArrowError> {
    let mut bytes = vec![0; extent.length()];
    extent.read(0, &mut bytes)?;
    let delta = codec::decode(&rows_of_bytes(bytes)?)?;
    let rows = batch(SchemaRef::clone(schema), delta.rows().columns().to_vec(), delta.len())?;
    Ok(delta.with_rows(rows))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delta::pretty::{parse, print};

    #[test]
    fn a_spilled_delta_is_what_it_was() {
        let dir = tempfile::tempdir().unwrap();
        let scratch = Scratch::create(dir.path()).unwrap();
        let delta = parse(
            " w | ts | k:text | v:int8
             +1 | 1  | a      | 1
             -2 | 3  | NULL   | NULL",
        );
        let mut kept = Kept::new(delta.clone());
        assert!(kept.memory() > 16 && kept.spilled() == 0);
        assert_eq!(kept.spill(&scratch, 1).unwrap(), kept.bytes);
        assert!(kept.is_spilled() && kept.memory() == 16 && kept.spilled() > 0);
        assert_eq!((kept.rows(), kept.ts_at(1)), (2, Timestamp(3)));
        let back = kept.get().unwrap().into_owned();
        assert_eq!((print(&back), back.schema()), (print(&delta), delta.schema()));
        drop(kept);
        assert_eq!(scratch.used(), 0);
    }
}
