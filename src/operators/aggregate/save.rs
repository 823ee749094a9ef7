//! Saves and loads an aggregate, also in the middle of an instant.
//!
//! Groups are numbered anew, in the order of their slots. Sections: `groups` (keys, rows, place in
//! the order of touched groups), what each call writes, `old` (results before the instant) and
//! `aggregate`.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, Int64Array, UInt32Array};
use arrow::datatypes::UInt32Type;

use super::results::Results;
use super::{Aggregate, saved};
use crate::operators::{Result, StateReader, StateWriter};
use crate::time::{Timestamp, Watermark};

impl Aggregate {
    pub(super) fn save_state(&self, to: &mut StateWriter) -> Result<()> {
        let groups: Vec<u32> = self.keys.slots().collect();
        let mut numbers = vec![0; self.keys.bound()];
        groups.iter().zip(0u32..).for_each(|(group, number)| numbers[*group as usize] = number);
        let mut places: Vec<Option<u32>> = vec![None; self.keys.bound()];
        self.order.iter().zip(0..).for_each(|(group, place)| places[*group as usize] = Some(place));
        let places = groups.iter().map(|group| places[*group as usize]);
        let places: ArrayRef = Arc::new(places.collect::<UInt32Array>());
        let mut columns = vec![("rows", saved::numbers(&groups, &self.rows)), ("place", places)];
        columns.extend(self.keys.decode(&groups)?.into_iter().map(|column| ("key", column)));
        saved::put(to, "groups", columns)?;
        for (i, fold) in self.folds.iter().enumerate() {
            fold.save(&groups, &format!("call {i}"), to)?;
        }
        for old in &self.old {
            let groups = old.groups.iter().map(|group| numbers[*group as usize]);
            let groups: ArrayRef = Arc::new(groups.collect::<UInt32Array>());
            let failed: ArrayRef = Arc::new(BooleanArray::from(old.failed.clone()));
            let mut columns = vec![("group", groups), ("failed", failed)];
            columns.extend(old.columns.iter().map(|column| ("value", Arc::clone(column))));
            saved::put(to, "old", columns)?;
        }
        let watermark = self.finality.as_ref().map_or(Watermark::MIN, |f| f.watermark());
        let watermark: ArrayRef = Arc::new(Int64Array::from(vec![watermark.0.0]));
        let started: ArrayRef = Arc::new(BooleanArray::from(vec![self.started]));
        saved::put(to, "aggregate", vec![("started", started), ("watermark", watermark)])
    }

    pub(super) fn load_state(&mut self, from: &mut StateReader) -> Result<()> {
        let columns = saved::take(from, "groups", 2)?;
        let count = columns[0].len();
        let groups = self.keys.intern(&columns[2..], count)?;
        if groups.iter().zip(0..).any(|(group, number)| *group != number) {
            return Err(saved::misfit("a group is saved twice".to_owned()));
        }
        self.grow();
        saved::fill(&columns[0], &mut self.rows)?;
        self.load_order(&columns[1], &groups)?;
        if let Some(finality) = &mut self.finality {
            finality.watch(&groups, &columns[2..])?;
        }
        for (i, fold) in self.folds.iter_mut().enumerate() {
            fold.load(&format!("call {i}"), from)?;
        }
        while let Some(old) = from.take("old") {
            let columns = old.columns();
            let groups = columns[0].as_primitive::<UInt32Type>().values().to_vec();
            let failed =
                columns[1].as_boolean().iter().map(|failed| failed == Some(true)).collect();
            self.old.push(Results { groups, columns: columns[2..].to_vec(), failed });
        }
        let columns = saved::take(from, "aggregate", 2)?;
        self.started = columns[0].as_boolean().value(0);
        if let Some(finality) = &mut self.finality {
            finality.restore(Watermark(Timestamp(saved::read(&columns[1])?.value(0))));
        }
        Ok(())
    }

    fn load_order(&mut self, places: &ArrayRef, groups: &[u32]) -> Result<()> {
        let places = places.as_primitive_opt::<UInt32Type>();
        let places = places.ok_or_else(|| saved::misfit("a place is not a number".to_owned()))?;
        let mut order: Vec<(u32, u32)> = (0..places.len())
            .filter(|i| places.is_valid(*i))
            .map(|i| (places.value(i), groups[i]))
            .collect();
        order.sort_unstable();
        for (_, group) in order {
            self.touched[group as usize] = true;
            self.order.push(group);
        }
        Ok(())
    }
}
