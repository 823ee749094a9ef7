//! Joins two relations on equal keys: inner, outer, semi and anti.
//!
//! # Semantics
//! `L ⋈ R` pointwise, over bags: weights multiply. A key that is NULL matches nothing unless
//! `null_equals_null`; without keys every row matches every other. The residual must be true as
//! well. LEFT, RIGHT and FULL also keep the rows without a partner, padded with NULLs; a semi join
//! keeps the left rows that have a partner, an anti join those that have none, and a mark join all
//! of them, each with whether it has one.
//!
//! ```text
//!   d(L ⋈ R) = dL ⋈ R + (L + dL) ⋈ dR      each delta meets the other side as it then is
//! ```
//!
//! # State
//! The rows of both sides by key. A key has one slot for both sides, so that one lookup serves to
//! store a row and to find its partners. A row is freed when its weight is 0, or silently when the
//! watermark has passed the time that `frees` names for its side: the rows it could match have all
//! come, and nothing changes them. Beside that, outer joins keep what module `presence` describes.
//!
//! # Invariants
//! 1. What an instant brings is emitted once it is complete, consolidated if anything is retracted.
//! 2. An inner join may get many instants in one round: a stored row remembers when it came, and a
//!    joined row is there from the later of the two instants.
//!
//! # Cost
//! Per row one hash of the key, and one of the row if its side may retract; per pair the decoding
//! of the stored row. Semi, anti and mark joins without a residual look at no pairs at all, only at
//! totals per key.

use std::sync::Arc;

use arrow::array::BooleanArray;
use arrow::datatypes::{Schema, SchemaRef};
use datafusion::physical_expr::PhysicalExpr;

use super::evaluate::Expressions;
use super::finality::Frees;
use super::{Instantwise, Operator, Output, Port, Result};
use crate::delta::{Delta, Weights};
use crate::storage::{Deltas, RowSet, Visit};
use crate::time::{Timestamp, Watermark};
use pairs::{Pairing, Pairs};
use presence::Presence;
use side::Side;
use totals::Totals;

mod lookup;
mod outer;
mod pairs;
mod presence;
mod side;
#[cfg(test)]
mod tests;
mod totals;

pub use lookup::{Lookup, LookupOptions};

/// What becomes of rows without a partner.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JoinKind {
    /// They are dropped.
    Inner,
    /// Left ones are kept, padded with NULLs.
    Left,
    /// Right ones are kept, padded with NULLs.
    Right,
    /// All are kept, padded with NULLs.
    Full,
    /// Left rows with a partner, as they are; right columns are not shown.
    LeftSemi,
    /// Left rows without a partner, as they are; right columns are not shown.
    LeftAnti,
    /// All left rows, and as a last column whether they have a partner; right columns are not
    /// shown.
    LeftMark,
}

/// One input of a join.
#[derive(Clone, Debug)]
pub struct JoinSide {
    /// Its row type.
    pub schema: SchemaRef,
    /// What must equal the keys of the other side, one by one.
    pub keys: Vec<Arc<dyn PhysicalExpr>>,
    /// Whether it never retracts a row.
    pub append_only: bool,
    /// When its rows are not needed any more, if a watermark tells.
    pub frees: Option<Frees>,
}

/// What a [`Join`] is to compute.
#[derive(Clone, Debug)]
pub struct JoinOptions {
    /// What becomes of rows without a partner.
    pub kind: JoinKind,
    /// The input of port 0.
    pub left: JoinSide,
    /// The input of port 1.
    pub right: JoinSide,
    /// What must be true of left and right columns besides equal keys.
    pub residual: Option<Arc<dyn PhysicalExpr>>,
    /// Whether NULL equals NULL in keys.
    pub null_equals_null: bool,
    /// The row type of the output: left columns, then right ones; for semi and anti joins the left
    /// ones; for mark joins those and the mark.
    pub output: SchemaRef,
}

/// A symmetric hash join.
pub struct Join {
    kind: JoinKind,
    null_equals_null: bool,
    output: SchemaRef,
    /// Left columns, then right ones.
    pair_schema: SchemaRef,
    residual: Option<Expressions>,
    /// Keys of both sides.
    keys: RowSet,
    sides: [Side; 2],
    /// Keys that this round has touched, and what rows without a partner depend on.
    totals: Totals,
    /// For each side that is preserved its rows' partners.
    presence: [Option<Presence>; 2],
    /// Rows of outer joins whose weight became 0; they are removed with the instant.
    zeros: [Vec<u32>; 2],
    /// Joined rows of this round.
    joined: Vec<Delta>,
}

impl JoinKind {
    /// Whether rows of a side show up without being paired.
    fn preserves(self, side: usize) -> bool {
        match self {
            JoinKind::Inner => false,
            JoinKind::Left | JoinKind::LeftSemi | JoinKind::LeftAnti | JoinKind::LeftMark => {
                side == 0
            }
            JoinKind::Right => side == 1,
            JoinKind::Full => true,
        }
    }

    /// Whether pairs are shown.
    fn pairs(self) -> bool {
        !matches!(self, JoinKind::LeftSemi | JoinKind::LeftAnti | JoinKind::LeftMark)
    }

    /// Whether a row of a preserved side is shown by itself.
    fn shows(self, partnered: bool) -> bool {
        self == JoinKind::LeftMark || partnered == (self == JoinKind::LeftSemi)
    }
}

impl Join {
    /// A join of two empty relations.
    pub fn new(options: JoinOptions) -> Result<Self> {
        let JoinOptions { kind, left, right, residual, null_equals_null, output } = options;
        let types = left.keys.iter().map(|key| key.data_type(&left.schema));
        let types = types.collect::<std::result::Result<Vec<_>, _>>()?;
        let fields = left.schema.fields().iter().chain(right.schema.fields());
        let nullable = fields.map(|field| Arc::new(field.as_ref().clone().with_nullable(true)));
        let pair_schema = match kind.pairs() {
            true => output.clone(),
            false => Arc::new(Schema::new(nullable.collect::<Vec<_>>())),
        };
        let presence = [0, 1].map(|side| kind.preserves(side).then(Presence::default));
        Ok(Self {
            kind,
            null_equals_null,
            output,
            pair_schema,
            residual: residual.map(|residual| Expressions::new([residual])),
            keys: RowSet::new(types.clone())?,
            sides: [Side::new(left, types.clone())?, Side::new(right, types)?],
            totals: Totals::default(),
            presence,
            zeros: [Vec::new(), Vec::new()],
            joined: Vec::new(),
        })
    }

    /// How the join wants the instants of a commit.
    pub fn instants(&self) -> Instantwise {
        if self.kind == JoinKind::Inner { Instantwise::Any } else { Instantwise::One }
    }

    /// Joins a delta with the other side, where nobody counts the pairs.
    fn pair(&mut self, port: usize, owners: &[u32], delta: &Delta, out: &mut Output) -> Result<()> {
        let other = &self.sides[1 - port];
        let residual = self.residual.as_ref();
        let how = Pairing { schema: &self.pair_schema, residual, right: port == 1 };
        Pairs::each(
            owners,
            other,
            |_| true,
            |mut pairs| {
                self.joined.push(pairs.join(delta, other, &how, out)?);
                Ok(())
            },
        )
    }

    /// Stores a delta of an inner join.
    fn push(&mut self, port: usize, owners: &[u32], delta: &Delta) -> Result<()> {
        let side = &mut self.sides[port];
        let encoded = side.rows.codec().encode(delta.rows().columns(), delta.len())?;
        let slots = owners.iter().enumerate().map(|(i, owner)| {
            side.rows.push(*owner, encoded.get(i), delta.weight(i), delta.ts_at(i).0)
        });
        let slots: Vec<u32> = slots.collect();
        side.watch(&slots, delta.rows())?;
        if !side.append_only {
            side.unsettled.extend(slots);
        }
        if matches!(delta.weights(), Weights::Each(_)) {
            self.totals.touch(owners);
        }
        Ok(())
    }

    /// Merges and frees rows, and frees the keys of none.
    fn settle(&mut self) {
        for (side, zeros) in self.sides.iter_mut().zip(&mut self.zeros) {
            side.settle();
            for slot in zeros.drain(..) {
                if side.rows.contains(slot) && side.rows.weight(slot) == 0 {
                    side.remove(slot);
                }
            }
        }
        for key in self.totals.take_touched() {
            self.free_key(key);
        }
    }

    /// Frees a key without rows.
    fn free_key(&mut self, key: u32) {
        let unused = self.sides.iter().all(|side| side.rows.first(key).is_none());
        if unused && self.keys.contains(key) {
            self.keys.remove(key);
            self.totals.clear(key);
        }
    }
}

impl Operator for Join {
    fn on_delta(&mut self, port: Port, delta: Delta, out: &mut Output) -> Result<()> {
        let port = port.0;
        let keyed = self.sides[port].key(delta, self.null_equals_null, out)?;
        if let Some(alone) = keyed.keyless
            && self.kind.preserves(port)
            && self.kind.shows(false)
        {
            let unmarked = BooleanArray::from(vec![false; alone.len()]);
            let rows = self.single_rows(alone.rows(), port, unmarked)?;
            self.joined.push(alone.with_rows(rows));
        }
        let delta = keyed.delta;
        let owners = self.keys.intern(&keyed.keys, delta.len())?;
        if self.kind == JoinKind::Inner {
            self.pair(port, &owners, &delta, out)?;
            return self.push(port, &owners, &delta);
        }
        self.outer(port, &owners, &delta, out)
    }

    fn on_instant(&mut self, at: Timestamp, out: &mut Output) -> Result<()> {
        for side in 0..2 {
            let singles = self.singles(side, at)?;
            self.joined.extend(singles);
        }
        self.settle();
        out.push_net(&self.output, std::mem::take(&mut self.joined))
    }

    fn on_watermark(&mut self, watermark: Watermark, _: &mut Output) -> Result<()> {
        for side in 0..2 {
            let Some(finality) = &mut self.sides[side].finality else { continue };
            for (_, slot) in finality.close(watermark) {
                let key = self.sides[side].rows.owner(slot);
                self.sides[side].remove(slot);
                self.free_key(key);
            }
        }
        Ok(())
    }

    fn stores(&mut self, visit: &mut Visit<'_>) {
        self.sides.iter_mut().for_each(|side| side.stores(visit));
        self.totals.stores(visit);
        self.presence.iter_mut().flatten().for_each(|presence| presence.stores(visit));
        self.zeros.iter_mut().for_each(|zeros| visit(zeros));
        visit(&mut Deltas(&mut self.joined));
        visit(&mut self.keys);
    }
}
