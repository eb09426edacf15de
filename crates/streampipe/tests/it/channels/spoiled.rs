use std::net::Shutdown;
use std::thread;
use std::time::Duration;

use streampipe::{Budget, CallError, Fd, FdPolicy, FdRule, RecvError, channel};

use super::pairs;
use crate::engines::tests_of_engines;
use crate::support::{file_with, tests_alone};

tests_of_engines! {
    fn a_request_beyond_the_budget_is_told_to_its_caller_and_ends_no_service() {
        for (ours, theirs) in pairs::<String, usize>() {
            theirs.set_budget(Budget::default().message_bytes(1000));
            thread::scope(|scope| {
                let serving = scope.spawn(|| theirs.serve(|text| text.len()));
                let answer = ours.call_timeout("a".repeat(200_000), Duration::from_secs(10));
                assert!(matches!(answer, Err(CallError::NoAnswer)), "{answer:?}");
                assert_eq!(ours.call("four".to_owned()).expect("the next one"), 4);
                ours.shutdown(Shutdown::Write).expect("ours");
                serving.join().expect("no panic").expect("an orderly end");
            });
        }
    }

    fn an_answer_beyond_the_budget_reaches_the_one_who_asked_and_nobody_else() {
        for (ours, theirs) in pairs::<usize, String>() {
            ours.set_budget(Budget::default().message_bytes(1000));
            thread::scope(|scope| {
                let other = scope.spawn(|| ours.recv());
                let caller = scope.spawn(|| ours.call(200_000));
                let request = theirs.recv_request().expect("a request");
                let len = request.value;
                request.answer("a".repeat(len)).expect("room");
                theirs.send("a message".to_owned()).expect("room");
                let answer = caller.join().expect("no panic");
                let Err(CallError::NotReceived(RecvError::TooLarge(too_large))) = answer else {
                    panic!("{answer:?}")
                };
                assert!(too_large.bytes > 200_000, "{too_large:?}");
                assert_eq!(other.join().expect("no panic").expect("a message"), "a message");
            });
        }
    }
}

tests_alone! {
    fn the_caller_of_a_request_that_is_not_accepted_is_told() {
        let (client, server) = channel::<Fd, u8>().expect("a pair");
        server.set_policy(FdPolicy::new().accept(FdRule::pipe()));
        thread::scope(|scope| {
            let serving = scope.spawn(|| server.serve(|_| 7));
            let file = || Fd::from(file_with(b"no pipe"));
            assert!(matches!(client.call(file()), Err(CallError::NoAnswer)));
            let (pipe, _writer) = rustix::pipe::pipe().expect("a pipe");
            let pipe = Fd::from(pipe);
            assert_eq!(client.call(pipe).expect("the next one is served"), 7);
            client.shutdown(Shutdown::Write).expect("ours");
            serving.join().expect("no panic").expect("an orderly end");
            assert!(matches!(client.call(file()), Err(CallError::NotSent(_))));
        });
    }
}
