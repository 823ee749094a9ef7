//! The laws that every operator and window must obey, one table over all of them.
//!
//! | law                 | says                                                                |
//! |---------------------|---------------------------------------------------------------------|
//! | batching invariance | how an instant's rows are split into calls does not matter          |
//! | instants together   | an operator that takes many instants at once emits the same         |
//! | order insensitivity | nor does their order, unless the window is one of rows              |
//! | restart invariance  | saving and loading between any two calls changes nothing            |
//! | representation      | all-ones weights and common instants are only short forms           |
//! | cancellation        | what is taken back leaves no output and no state                    |
//! | drain               | after the end of the stream windows hold nothing                    |
//! | honesty             | nothing is emitted behind a watermark (by `Checked`, in every run)  |
//!
//! Every law has a test that a broken operator fails. Beside the laws, `definition` compares what
//! operators emit with what they are defined to be.

#![expect(clippy::unwrap_used, reason = "a test panics where it fails")]

mod broken;
mod cases;
mod definition;
mod drive;
mod over;

use proptest::prelude::*;
use proptest::sample::Index;

use cases::{Case, cases};
use drive::{Script, rows_held, run, scripts};
use highwater::operators::{Instantwise, Operator};

/// How a script is delivered.
#[derive(Clone, Debug, Default)]
pub struct Delivery {
    /// Rows per call; none means all of an instant and port.
    pub batch: Option<usize>,
    /// Whether rows of one instant and port come in reverse.
    pub reversed: bool,
    /// Whether instants between watermarks come in one round, if the operator allows.
    pub together: bool,
    /// After which call the operator is saved and loaded, if at all.
    pub restart: Option<Index>,
    /// Whether every row carries its own instant and weight.
    pub long_form: bool,
}

/// Asserts that a case emits the same however a script is delivered.
fn same(case: &Case, script: &Script, delivery: &Delivery) -> Result<(), TestCaseError> {
    let expected = run(case, script, &Delivery::default()).0;
    prop_assert_eq!(run(case, script, delivery).0, expected, "{}", case.name);
    Ok(())
}

/// Asserts that an operator holds no more than one that has seen the same instants without rows.
fn holds_nothing(case: &Case, script: &Script, op: &mut dyn Operator) -> Result<(), TestCaseError> {
    let mut idle = run(case, &script.without_rows(), &Delivery::default()).1;
    prop_assert_eq!(rows_held(op), rows_held(idle.as_mut()), "{}", case.name);
    Ok(())
}

fn batching(case: &Case, script: &Script, batch: usize) -> Result<(), TestCaseError> {
    same(case, script, &Delivery { batch: Some(batch), ..Delivery::default() })
}

fn together(case: &Case, script: &Script) -> Result<(), TestCaseError> {
    same(case, script, &Delivery { together: true, ..Delivery::default() })
}

fn order(case: &Case, script: &Script) -> Result<(), TestCaseError> {
    same(case, script, &Delivery { reversed: true, ..Delivery::default() })
}

fn restart(case: &Case, script: &Script, at: Index, together: bool) -> Result<(), TestCaseError> {
    same(case, script, &Delivery { restart: Some(at), together, ..Delivery::default() })
}

fn representation(case: &Case, script: &Script) -> Result<(), TestCaseError> {
    same(case, script, &Delivery { long_form: true, ..Delivery::default() })
}

fn cancellation(case: &Case, script: &Script) -> Result<(), TestCaseError> {
    let undone = script.without_watermarks().undone();
    let (output, mut op) = run(case, &undone, &Delivery::default());
    let idle = run(case, &undone.without_rows(), &Delivery::default()).0;
    prop_assert_eq!(output.content(), idle.content(), "{}", case.name);
    holds_nothing(case, &undone, op.as_mut())
}

fn drain(case: &Case, script: &Script) -> Result<(), TestCaseError> {
    let ended = script.ended();
    let (_, mut op) = run(case, &ended, &Delivery::default());
    holds_nothing(case, &ended, op.as_mut())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn batching_does_not_matter(
        relation in scripts(false), stream in scripts(true), batch in 1usize..4,
    ) {
        for case in cases().iter() {
            batching(case, if case.stream { &stream } else { &relation }, batch)?;
        }
    }

    #[test]
    fn instants_may_come_together(relation in scripts(false), stream in scripts(true)) {
        for case in cases().iter().filter(|case| case.instants == Instantwise::Any) {
            together(case, if case.stream { &stream } else { &relation })?;
        }
    }

    #[test]
    fn order_within_an_instant_does_not_matter(
        relation in scripts(false), stream in scripts(true),
    ) {
        for case in cases().iter().filter(|case| !case.ordered) {
            order(case, if case.stream { &stream } else { &relation })?;
        }
    }

    #[test]
    fn restart_changes_nothing(
        relation in scripts(false), stream in scripts(true), at in any::<Index>(),
        joined in any::<bool>(),
    ) {
        for case in cases().iter() {
            restart(case, if case.stream { &stream } else { &relation }, at, joined)?;
        }
    }

    #[test]
    fn short_forms_mean_the_same(relation in scripts(false), stream in scripts(true)) {
        for case in cases().iter() {
            representation(case, if case.stream { &stream } else { &relation })?;
        }
    }

    #[test]
    fn what_is_taken_back_leaves_no_trace(script in scripts(false)) {
        for case in cases().iter().filter(|case| case.cancels) {
            cancellation(case, &script)?;
        }
    }

    #[test]
    fn windows_are_empty_after_the_end(relation in scripts(false), stream in scripts(true)) {
        for case in cases().iter().filter(|case| case.drains) {
            drain(case, if case.stream { &stream } else { &relation })?;
        }
    }
}
