//! Stream-to-relation: windows.
//!
//! A stream is an append-only bag of rows with timestamps; a relation is a bag of rows at every
//! instant. A window says which rows of the stream the relation holds at instant τ. There are four
//! kinds, told apart by what makes the relation change:
//!
//! ```text
//!  kind        window                      changes with     operator
//!  lifetime    NOW, RANGE, SLIDE, CURRENT  event time       Expiring
//!  lifetime    WHERE now() < ..            time             TemporalFilter
//!  last rows   ROWS, PARTITION BY .. ROWS  later rows       Rows, PartitionedRows
//!  assignment  TUMBLE, HOP, CUMULATE       nothing          AssignWindows
//!  session     SESSION                     other rows       Sessions
//! ```
//!
//! # Lifetimes
//! A row of instant `ts` is in the window during `[start, end)`.
//!
//! ```text
//!  event time           0   1   2   3   4   5   6   7   8   9  10
//!  NOW                      a---)                                      ts <= τ < ts + 1
//!  RANGE 3                  a-----------)                              ts <= τ < ts + 3
//!  RANGE 3 INCLUSIVE        a---------------)                          ts <= τ <= ts + 3
//!  RANGE 4 SLIDE 2          a   [---------------)                      moves at multiples of 2
//!  RANGE 2 SLIDE 5          a               (never: 0 and 5 miss it)   samples at multiples of 5
//!  RANGE 2 SLIDE 5                      c   [-------------------)      5 - 2 < 4 <= 5
//!  CURRENT 5                a---------------)                          until the period ends
//!  UNBOUNDED                a------------------------------------->    the default
//! ```
//!
//! At a multiple E of the slide the window is `(E - T, E]`, and it is frozen in between. The end is
//! exclusive, so that a row expires in the very instant in which an equal one, T later, arrives:
//! both cancel. A change is emitted when the watermark has passed its instant.
//!
//! # Last rows
//! Rows are ordered by (ts, seq), seq being the order of durable arrival. Only the net effect of an
//! instant is visible: of four rows that come at once `ROWS 2` shows the last two.
//!
//! ```text
//!  rows                     1:a        2:b  2:c  2:d        5:e
//!  ROWS 2                   1+a        2-a  2+c  2+d        5-c  5+e
//!  ROWS 3 SLIDE 2                      2+a  2+b  ..         whole batches of 2 rows
//!  PARTITION BY k ROWS 1 [RANGE T]     the last row of each k, while it is not older than T
//! ```
//!
//! # Assignment
//! Each row gets the half-open windows `[window_start, window_end)` it falls in as columns, and
//! `window_time`, the last microsecond of the window. It is a function of the row alone: only what
//! groups by the window waits for the watermark ([`crate::operators::OnClose`]) or is freed by it.
//!
//! ```text
//!  TUMBLE(size 5)           [---------)[---------)           one window
//!  HOP(slide 2, size 4)     [-------)                        size / slide windows,
//!                               [-------)                    none if slide > size and it falls
//!                                   [-------)                between two of them
//!  CUMULATE(step 2, size 6) [---)
//!                           [-------)                        all that are long enough
//!                           [-----------)
//! ```
//!
//! `TUMBLE(5)` has y@5 in `[5, 10)`; `RANGE 5 SLIDE 5` has it in the window that ends at E = 5,
//! which is `(0, 5]`. Use the function for calendar buckets and the bracket for "every L, the last
//! T".
//!
//! # Sessions
//! Also columns, but a function of all rows of a key: a row starts a new session iff it is at least
//! the gap away from the last one, and one between two sessions makes them one.
//!
//! # Late rows
//! Where a stream takes rows that come late, lifetimes have them as if they had come in time, last
//! rows from the last closed instant on (module `late`), and sessions correct what they have said.
//!
//! # Invariants
//! 1. Input of lifetimes and last rows is append-only. A row of weight w stands for w rows.
//! 2. Every row that comes and is bound to go, goes: after the end of the stream lifetimes are
//!    over.
//!
//! [`snapshot`] has the same windows by their definition, for one-shot reads and as a model for
//! tests.
//!
//! # References
//! Arasu, Babu, Widom, The CQL continuous query language (VLDB Journal 2006).

mod assign;
mod expiring;
mod future;
mod intervals;
mod late;
mod partitioned;
mod queue;
mod rows;
mod session;
pub mod snapshot;
pub mod temporal;
mod validity;

pub use assign::{AssignWindows, Assigner};
pub use expiring::Expiring;
pub use partitioned::{PartitionedRows, PartitionedRowsOptions};
pub use rows::Rows;
pub use session::{SessionOptions, Sessions};
pub use temporal::TemporalFilter;
pub use validity::{TimeWindow, Validity};
