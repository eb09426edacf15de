//! Futures that are polled by another executor, while the runtime looks after their descriptors.

use std::future::Future;
use std::pin::pin;
use std::task::{Context, Poll};
use std::thread;

use streampipe::{Budget, RecvError};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::runtime::Builder;

use super::{pair, raw_pairs, waker_that};
use crate::engines::tests_of_engines;

/// More than there is ever room for.
const LARGE: usize = 4 << 20;

/// The executor: this thread, which sleeps until it is woken.
fn block_on_thread<T>(future: impl Future<Output = T>) -> T {
    let mut future = pin!(future);
    let here = thread::current();
    let waker = waker_that(move || here.unpark());
    loop {
        if let Poll::Ready(done) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return done;
        }
        thread::park();
    }
}

tests_of_engines! {
    /// It waits for room, where it looks at the clock.
    fn a_message_is_sent_and_received_by_another_executor() {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let pairs = runtime.block_on(async { raw_pairs() });
        for (client, server) in pairs {
            thread::scope(|scope| {
                scope.spawn(|| {
                    block_on_thread(client.send(&vec![7; LARGE], &[])).expect("room, in the end");
                });
                let message = block_on_thread(server.recv()).expect("a message");
                assert_eq!(message.bytes.len(), LARGE);
            });
            // So it does in front of full queues.
            server.set_budget(Budget::default().queued_messages(1));
            block_on_thread(client.send(b"wanted by nobody", &[])).expect("room");
            let error = block_on_thread(server.recv_request()).expect_err("it is in the way");
            assert!(matches!(error, RecvError::Unclaimed { .. }), "{error:?}");
        }
    }

    fn a_stream_is_written_and_read_by_another_executor() {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let (mut a, mut b) = runtime.block_on(async { pair() }).expect("a pair");
        thread::scope(|scope| {
            scope.spawn(|| block_on_thread(a.write_all(&vec![7; LARGE])).expect("a reader"));
            let mut bytes = vec![0; LARGE];
            block_on_thread(b.read_exact(&mut bytes)).expect("a writer");
        });
    }
}
