//! What is proven of a node's output: append-only, finality per column, where rows lie, size.

use arrow::datatypes::DataType;

/// What is proven of a node's output.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Properties {
    /// Nothing is ever retracted.
    pub append_only: bool,
    /// Per column: how the watermark makes rows final by that column's value.
    pub finality: Vec<Option<Finality>>,
    /// Columns whose hash says on which shard a row lies, in hash order; `None` where it is
    /// unknown.
    /// An empty list means that all rows lie on one shard.
    pub hashed_by: Option<Vec<usize>>,
    /// How much a relation of this content holds.
    pub size: Size,
    /// Changes carry no event time: made of tables, constants and ARRIVAL views alone.
    pub timeless: bool,
    /// Type of the event time that changes carry; `None` if timeless.
    pub time_type: Option<DataType>,
    /// A column whose value is the time of each insertion.
    pub time_column: Option<usize>,
    /// Rows of one instant stand in an order that does not depend on shards and batches: that of
    /// arrival, or that of their values.
    pub ordered: bool,
    /// The object that is scanned is a stream.
    pub stream: bool,
    /// For how long after an instant of event time has closed it may be corrected, because rows
    /// come late.
    pub late: i64,
}

/// "A row with value `v` in this column is final once the watermark has reached `v + after`."
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Finality {
    /// Microseconds, or units of a BIGINT time.
    pub after: i64,
    /// How much of it only late rows need: before, a window closes, and is corrected after that.
    pub late: i64,
    /// Nothing at all changes such rows any more. Otherwise a table joined to them still may: good
    /// enough
    /// to say when a window closes, not to forget its state.
    pub strict: bool,
    /// What the time is.
    pub of: TimeOf,
}

/// What a time that the watermark makes final is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimeOf {
    /// The instant of the row's own event time.
    Instant,
    /// A bound of a window of this size: start, end and last tick of it are final together.
    Window(i64),
    /// Another.
    Other,
}

/// How much a relation holds, and why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Size {
    /// A fixed number of rows.
    #[default]
    Constant,
    /// What a window or the watermark leaves.
    Window,
    /// What tables hold, or the number of distinct keys.
    Keys,
    /// Everything that ever arrived.
    Unbounded,
}

impl Finality {
    /// When the watermark has passed what the value stands for, late rows aside.
    pub fn closes(self) -> i64 {
        self.after - self.late
    }
}

impl Properties {
    /// Returns whether a query that was planned over a relation of properties `self` stays right
    /// over one of properties `new`, with a retraction of what `new` does not have in between.
    pub fn allow(&self, new: &Properties) -> bool {
        !self.append_only
            && self.finality == new.finality
            && self.size >= new.size
            && self.timeless == new.timeless
            && self.time_type == new.time_type
            && self.late >= new.late
    }

    /// The finality of the first column whose values are closest to it, a strict one if possible:
    /// of a window rather its end than its start.
    pub fn best_finality(&self) -> Option<(usize, Finality)> {
        let known = self.finality.iter().enumerate().filter_map(|(i, f)| f.map(|f| (i, f)));
        known.min_by_key(|(_, f)| (!f.strict, f.after))
    }
}
