//! The signals that a thread blocks for a while come back, however the while ends.

use streampipe_sys::signal::SignalSet;

use crate::support::tests_alone;

/// The signals that this thread blocks.
fn blocked() -> String {
    let status = std::fs::read_to_string("/proc/thread-self/status").expect("/proc is mounted");
    status.lines().find(|line| line.starts_with("SigBlk:")).expect("a field").to_owned()
}

tests_alone! {
    fn a_panic_leaves_no_signal_blocked() {
        let before = blocked();
        for block in [SignalSet::set_scoped, SignalSet::block_scoped] {
            let unwound = std::panic::catch_unwind(|| {
                let _blocked = block(&SignalSet::all());
                assert_ne!(blocked(), before, "the control");
                std::panic::resume_unwind(Box::new("on purpose"));
            });
            unwound.expect_err("it unwinds");
            assert_eq!(blocked(), before);
        }
    }
}
