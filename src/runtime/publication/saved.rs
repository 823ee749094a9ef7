//! A result in an image, and out of it.

use serde::{Deserialize, Serialize};

use super::Publication;
use crate::runtime::Result;
use crate::runtime::job::Fault;
use crate::runtime::packet::Commit;
use crate::storage::{Misfit, StateReader, StateWriter};
use crate::time::Watermark;

/// What a result is made of beside its content.
#[derive(Serialize, Deserialize)]
struct Saved {
    commit: Commit,
    watermark: Watermark,
    elements: u64,
    skip_first: bool,
    /// The floor, and how many changes wait above it.
    floor: Option<(Watermark, usize)>,
    fault: Option<Fault>,
}

impl Publication {
    /// Writes the result as it is. The query has brought all that it was told of.
    pub(in crate::runtime) fn save(&self, to: &mut StateWriter) -> Result<()> {
        let state = self.lock();
        let saved = Saved {
            commit: state.expected,
            watermark: state.watermark,
            elements: state.elements,
            skip_first: state.skip_first,
            floor: state.floor.as_ref().map(|(floor, waiting)| (*floor, waiting.len())),
            fault: state.fault.clone(),
        };
        to.put_value(&saved)?;
        for waiting in state.floor.iter().flat_map(|(_, waiting)| waiting) {
            to.put_delta(waiting)?;
        }
        if let Some(changes) = &state.changes {
            changes.save(to)?;
        }
        state.content.save(to)
    }

    /// Takes what [`Publication::save`] wrote, into an empty result; returns what had ended the
    /// query.
    pub(in crate::runtime) fn load(&self, from: &mut StateReader) -> Result<Option<Fault>> {
        let mut state = self.lock();
        let saved: Saved = from.take_value()?;
        (state.expected, state.commit) = (saved.commit, saved.commit);
        state.watermark = saved.watermark;
        state.elements = saved.elements;
        state.skip_first = saved.skip_first;
        state.floor = None;
        if let Some((floor, count)) = saved.floor {
            let waiting = (0..count).map(|_| from.take_delta());
            state.floor = Some((floor, waiting.collect::<Result<_, Misfit>>()?));
        }
        if let Some(changes) = &mut state.changes {
            changes.load(from)?;
        }
        state.content.load(from)?;
        state.settle();
        Ok(saved.fault)
    }
}
