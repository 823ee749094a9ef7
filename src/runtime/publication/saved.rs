//! A result in an image, and out of it.

use serde::{Deserialize, Serialize};

use super::Publication;
use crate::delta::codec;
use crate::operators::{StateReader, StateWriter};
use crate::runtime::job::Fault;
use crate::runtime::packet::Commit;
use crate::runtime::{Result, image};
use crate::time::Watermark;

/// What a result is made of beside its content.
#[derive(Serialize, Deserialize)]
struct Saved {
    commit: Commit,
    watermark: Watermark,
    elements: u64,
    skip_first: bool,
    floor: Option<Watermark>,
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
            floor: state.floor.as_ref().map(|(floor, _)| *floor),
            fault: state.fault.clone(),
        };
        image::put_json(to, "result", &saved)?;
        for waiting in state.floor.iter().flat_map(|(_, waiting)| waiting) {
            to.put("above floor", codec::encode(waiting)?);
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
        let saved: Saved = image::take_json(from, "result")?;
        (state.expected, state.commit) = (saved.commit, saved.commit);
        state.watermark = saved.watermark;
        state.elements = saved.elements;
        state.skip_first = saved.skip_first;
        let mut waiting = Vec::new();
        while let Some(delta) = from.take("above floor") {
            waiting.push(codec::decode(&delta)?);
        }
        state.floor = saved.floor.map(|floor| (floor, waiting));
        if let Some(changes) = &mut state.changes {
            changes.load(from)?;
        }
        state.content.load(from)?;
        state.settle();
        Ok(saved.fault)
    }
}
