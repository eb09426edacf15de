use std::sync::mpsc;
use std::thread;

use streampipe::channel;

use super::HANG;
use crate::spawn::helpers::Sleeper;
use crate::support::tests_alone;

tests_alone! {
    fn messages_that_come_at_once_wake_as_many_who_wait() {
        for _ in 0..50 {
            let (ours, theirs) = channel::<u32, u32>().expect("a pair");
            let sleepers = [(); 3].map(|()| Sleeper::default());
            let [reader, waiters @ ..] = &sleepers;
            let (ours, (got, gets)) = (&ours, mpsc::channel());
            thread::scope(|scope| {
                scope.spawn(|| {
                    reader.is_me();
                    assert_eq!(ours.call_timeout(1, 2 * HANG).expect("an answer"), 2);
                });
                let request = theirs.recv_request().expect("the reader asks");
                reader.sleeps();
                for waiter in waiters {
                    let got = got.clone();
                    scope.spawn(move || {
                        waiter.is_me();
                        let number = ours.recv().expect("one of the two messages");
                        got.send(number).expect("somebody listens");
                    });
                    waiter.sleeps();
                }
                theirs.send(10).expect("room");
                theirs.send(11).expect("room");
                // Both have one while the reader, who could wake them again, still waits for its answer.
                let numbers = [(); 2].map(|()| gets.recv_timeout(HANG));
                request.answer(2).expect("room");
                assert!(numbers.iter().all(Result::is_ok), "one came and was not handed over");
            });
        }
    }
}
