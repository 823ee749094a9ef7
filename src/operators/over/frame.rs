//! The rows of a frame: consecutive ones, without those that EXCLUDE leaves out.

use std::ops::Range;

/// Rows that are left out of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Exclude {
    /// None.
    #[default]
    NoOthers,
    /// The row itself.
    CurrentRow,
    /// The row and its peers.
    Group,
    /// Its peers, not the row itself.
    Ties,
}

/// The rows of a frame, by their places.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Frame {
    /// From its start to its end.
    pub(super) rows: Range<usize>,
    /// What is left out of these: two runs, in order, that may be empty.
    pub(super) without: [Range<usize>; 2],
}

impl Frame {
    /// The frame of a row with its group of peers.
    pub(super) fn new(
        rows: Range<usize>,
        exclude: Exclude,
        row: usize,
        group: &Range<usize>,
    ) -> Self {
        let within = |run: Range<usize>| {
            let start = run.start.clamp(rows.start, rows.end);
            start..run.end.clamp(start, rows.end)
        };
        let without = match exclude {
            Exclude::NoOthers => [rows.start..rows.start, rows.start..rows.start],
            Exclude::CurrentRow => [row..row + 1, row + 1..row + 1],
            Exclude::Group => [group.clone(), group.end..group.end],
            Exclude::Ties => [group.start..row, row + 1..group.end],
        };
        Self { without: without.map(within), rows }
    }

    /// The runs of rows that are in it, in order.
    pub(super) fn runs(&self) -> [Range<usize>; 3] {
        let [first, second] = &self.without;
        [self.rows.start..first.start, first.end..second.start, second.end..self.rows.end]
    }

    /// Its rows in order.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = usize> {
        self.runs().into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_that_are_left_out_lie_within_the_frame() {
        let rows = |frame: Range<usize>, exclude| -> Vec<usize> {
            Frame::new(frame, exclude, 4, &(3..6)).iter().collect()
        };
        assert_eq!(rows(2..8, Exclude::NoOthers), [2, 3, 4, 5, 6, 7]);
        assert_eq!(rows(2..8, Exclude::CurrentRow), [2, 3, 5, 6, 7]);
        assert_eq!(rows(2..8, Exclude::Group), [2, 6, 7]);
        assert_eq!(rows(2..8, Exclude::Ties), [2, 4, 6, 7]);
        assert_eq!(rows(0..4, Exclude::Ties), [0, 1, 2]);
        assert_eq!(rows(5..7, Exclude::Ties), [6]);
        assert_eq!(rows(4..5, Exclude::Ties), [4]);
        assert_eq!(rows(7..9, Exclude::Group), [7, 8]);
        assert_eq!(rows(1..1, Exclude::CurrentRow), [0; 0]);
    }
}
