use std::io::{ErrorKind, Read, Write};
use std::time::Duration;

use streampipe::{Builder, Engine};

use crate::support::tests_alone;
use crate::{allocations, peak};

tests_alone! {
    /// What is held is neither copied to other memory nor asked for again: the second try and all that follow allocate
    /// nothing, however much there is.
    fn a_read_exact_that_fails_again_allocates_nothing() {
        for engine in [Engine::Socket, Engine::Ring] {
            let (a, b) = Builder::new().engine(engine).pair().expect("a pair");
            b.set_read_timeout(Some(Duration::from_nanos(1))).expect("a timeout");
            let part = vec![7; 16 << 10];
            let mut buffer = vec![0; 200 * part.len()];
            let mut fails = || {
                (&a).write_all(&part).expect("room");
                let error = (&b).read_exact(&mut buffer).expect_err("too little");
                assert_eq!(error.kind(), ErrorKind::TimedOut);
            };
            // The first makes room, and what the list of what is held needs.
            (0..2).for_each(|_| fails());
            assert_eq!(allocations(|| (0..190).for_each(|_| fails())), 0, "{engine:?}");
            let ((), more) = peak(|| (0..7).for_each(|_| fails()));
            assert_eq!(more, 0, "{engine:?}");
            (&a).write_all(&part).expect("room");
            (&b).read_exact(&mut buffer).expect("all of it");
            assert!(buffer.iter().all(|&byte| byte == 7));
        }
    }
}
