//! Saves and loads an aggregate, also in the middle of a round.
//!
//! Groups are numbered anew, in the order of their slots. Sections: `groups` (rows and key), what
//! each
//! call writes, `pending` (rows of the round) and `aggregate`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array};

use super::{Aggregate, saved};
use crate::delta::codec;
use crate::operators::{Result, StateReader, StateWriter};
use crate::time::{Timestamp, Watermark};

impl Aggregate {
    pub(super) fn save_state(&self, to: &mut StateWriter) -> Result<()> {
        let groups: Vec<u32> = self.keys.slots().collect();
        let mut columns = vec![("rows", saved::numbers(&groups, &self.rows))];
        columns.extend(self.keys.decode(&groups)?.into_iter().map(|column| ("key", column)));
        saved::put(to, "groups", columns)?;
        for (i, fold) in self.folds.iter().enumerate() {
            fold.save(&groups, &format!("call {i}"), to)?;
        }
        for delta in &self.pending {
            to.put("pending", codec::encode(delta)?);
        }
        let watermark = self.finality.as_ref().map_or(Watermark::MIN, |f| f.watermark());
        let watermark: ArrayRef = Arc::new(Int64Array::from(vec![watermark.0.0]));
        let started: ArrayRef = Arc::new(BooleanArray::from(vec![self.started]));
        saved::put(to, "aggregate", vec![("started", started), ("watermark", watermark)])
    }

    pub(super) fn load_state(&mut self, from: &mut StateReader) -> Result<()> {
        let columns = saved::take(from, "groups", 1)?;
        let groups = self.keys.intern(&columns[1..], columns[0].len())?;
        if groups.iter().zip(0..).any(|(group, number)| *group != number) {
            return Err(saved::misfit("a group is saved twice".to_owned()));
        }
        self.grow();
        saved::fill(&columns[0], &mut self.rows)?;
        if let Some(finality) = &mut self.finality {
            finality.watch(&groups, &columns[1..])?;
        }
        for (i, fold) in self.folds.iter_mut().enumerate() {
            fold.load(&format!("call {i}"), from)?;
        }
        while let Some(delta) = from.take("pending") {
            self.pending.push(codec::decode(&delta)?);
        }
        let columns = saved::take(from, "aggregate", 2)?;
        self.started = columns[0].as_boolean().value(0);
        if let Some(finality) = &mut self.finality {
            finality.restore(Watermark(Timestamp(saved::read(&columns[1])?.value(0))));
        }
        Ok(())
    }
}
