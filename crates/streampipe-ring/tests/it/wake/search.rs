use std::panic::{self, AssertUnwindSafe};

use super::memory::{Lack, lack};

/// What is wrong with an execution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// Somebody sleeps for ever.
    Deadlock,
    /// Two touch the same bytes, and neither is behind the other.
    Race,
    /// The model itself complains.
    Wrong,
}

/// What a model does, again for each execution.
pub(super) trait Model: Fn() + Copy + Send + Sync + 'static {}

impl<F: Fn() + Copy + Send + Sync + 'static> Model for F {}

/// Searches all executions.
#[track_caller]
pub(super) fn holds(model: impl Model) {
    search(None, model);
}

/// Searches all executions in which somebody is interrupted no more often than this where they could go on.
#[track_caller]
pub(super) fn holds_within(interruptions: usize, model: impl Model) {
    search(Some(interruptions), model);
}

/// Searches all executions in a memory that lacks something, which makes no difference to the model.
#[track_caller]
pub(super) fn holds_without(lacking: Lack, model: impl Model) {
    lack(lacking);
    search(None, model);
    lack(Lack::Nothing);
}

/// Finds an execution with this fault.
#[track_caller]
pub(super) fn fails(fault: Fault, model: impl Model) {
    fails_without(&[(Lack::Nothing, fault)], model);
}

/// Finds, in each memory that lacks something, an execution with this fault.
#[track_caller]
pub(super) fn fails_without(faults: &[(Lack, Fault)], model: impl Model) {
    for &(lacking, fault) in faults {
        lack(lacking);
        let searched = panic::catch_unwind(AssertUnwindSafe(|| search(None, model)));
        lack(Lack::Nothing);
        let found = searched.err().map(|panic| classify(&*panic));
        assert_eq!(found, Some(fault), "without {lacking:?}");
    }
}

fn search(interruptions: Option<usize>, model: impl Model) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = interruptions;
    builder.check(model);
}

fn classify(panic: &(dyn std::any::Any + Send)) -> Fault {
    let text = panic.downcast_ref::<String>().map_or("", |text| text);
    if text.starts_with("deadlock") {
        Fault::Deadlock
    } else if text.contains("Causality violation") {
        Fault::Race
    } else {
        Fault::Wrong
    }
}
