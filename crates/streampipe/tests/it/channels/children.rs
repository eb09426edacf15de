//! The child is this binary again, and plays the part that a variable names.

use std::fs::File;
use std::thread;
use std::time::Instant;

use serde::{Deserialize, Serialize};
use streampipe::{
    Budget, CallError, Channel, Command, Fd, FdKind, RecvError, SendReason, inherited,
};

use crate::messages::number_in;
use crate::spawn::helpers::{LeftBehind, PROMPTLY, Sleeper, sh};
use crate::support::{file_with, tests_alone};

const PART: &str = "STREAMPIPE_TEST_PART";

/// What the parent asks.
#[derive(Debug, Serialize, Deserialize)]
enum Question {
    /// What this file says, twice over.
    Double(Fd),
    /// So many bytes.
    Bytes(usize),
    /// A word through this channel.
    Word(Channel<String, ()>),
    /// A call back, while this one waits.
    Back,
}

#[derive(Debug, Serialize, Deserialize)]
enum Answer {
    File(Fd),
    Text(String),
    Done,
}

fn child(part: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("the test binary"));
    let name = "channels::children::the_part_of_a_child";
    command.args([name, "--exact", "--include-ignored", "--test-threads=1"]).env(PART, part);
    command
}

#[test]
#[ignore = "what a child does, which other tests start"]
fn the_part_of_a_child() {
    let Ok(part) = std::env::var(PART) else { return };
    let parent = Channel::<Answer, Question>::from(inherited().expect("the parent prepared it"));
    match &*part {
        "serve" => parent.serve(|question| answer(&parent, question)).expect("an orderly end"),
        "say too much" => {
            parent.send(Answer::Text("a".repeat(2 << 20))).expect("room");
            parent.send(Answer::Text("short".to_owned())).expect("room");
            let null = File::open("/dev/null").expect("a device").into();
            let refused = parent.send(Answer::File(null));
            let told = format!("{:?}", refused.map_err(|error| error.into_parts().1));
            parent.send(Answer::Text(told)).expect("room");
            assert!(matches!(parent.recv(), Err(RecvError::Closed)));
        }
        _ => panic!("no such part: {part}"),
    }
}

fn answer(parent: &Channel<Answer, Question>, question: Question) -> Answer {
    match question {
        Question::Double(fd) => {
            let number = number_in(fd.into()) * 2;
            Answer::File(file_with(number.to_string().as_bytes()).into())
        }
        Question::Bytes(len) => Answer::Text("a".repeat(len)),
        Question::Word(channel) => {
            channel.send("from the child".to_owned()).expect("room");
            Answer::Done
        }
        Question::Back => {
            let Ok(Question::Bytes(5)) = parent.call(Answer::Done) else { panic!("an answer") };
            Answer::Text("five".to_owned())
        }
    }
}

/// Asks from 16 threads, of which none gets an answer before all of them wait; how each ends.
fn asked_in_vain(
    channel: &Channel<u64, u64>,
    when_all_wait: impl FnOnce(),
) -> Vec<Result<u64, CallError<u64>>> {
    let sleepers: Vec<Sleeper> = (0..16).map(|_| Sleeper::default()).collect();
    thread::scope(|scope| {
        let callers: Vec<_> = (0..)
            .zip(&sleepers)
            .map(|(number, sleeper)| {
                scope.spawn(move || {
                    sleeper.is_me();
                    channel.call(number)
                })
            })
            .collect();
        sleepers.iter().for_each(Sleeper::sleeps);
        when_all_wait();
        callers.into_iter().map(|caller| caller.join().expect("no panic")).collect()
    })
}

tests_alone! {
    fn a_child_serves_its_parent_over_a_channel() {
        let mut child = child("serve").spawn().expect("it starts");
        let channel = child.take_channel::<Question, Answer>().expect("it is there");
        assert!(child.take_channel::<(), ()>().is_none(), "it was taken");
        let Ok(Answer::File(fd)) = channel.call(Question::Double(file_with(b"21").into())) else {
            panic!("a file")
        };
        assert_eq!(number_in(fd.into()), 42);
        let Ok(Answer::Text(text)) = channel.call(Question::Bytes(3_000_000)) else {
            panic!("a text")
        };
        assert_eq!(text.len(), 3_000_000);
        let (theirs, ours) = streampipe::channel().expect("a pair");
        assert!(matches!(channel.call(Question::Word(theirs)), Ok(Answer::Done)));
        assert_eq!(ours.recv().expect("a word"), "from the child");
        assert!(matches!(ours.recv(), Err(RecvError::Closed)));
        thread::scope(|scope| {
            scope.spawn(|| {
                let request = channel.recv_request().expect("it calls back");
                request.answer(Question::Bytes(5)).expect("room");
            });
            assert!(matches!(channel.call(Question::Back), Ok(Answer::Text(_))));
        });
        drop(channel);
        assert!(child.wait().expect("its status").success());
    }

    fn an_untrusted_child_starts_with_little_and_gets_nothing_perilous() {
        let mut child = child("say too much").untrusted().spawn().expect("it starts");
        let channel = child.take_channel::<Question, Answer>().expect("it is there");
        assert_eq!(channel.budget(), Budget::small());
        let too_large = channel.recv();
        let Err(RecvError::TooLarge(too_large)) = too_large else { panic!("{too_large:?}") };
        assert_eq!(too_large.most_bytes, 1 << 20);
        let Ok(Answer::Text(text)) = channel.recv() else { panic!("a text") };
        assert_eq!(text, "short");
        // Its descriptors stay with it, whether the kernel or this side says so.
        assert!(matches!(channel.recv(), Err(RecvError::TooLarge(it)) if it.fds == 1));
        let Ok(Answer::Text(told)) = channel.recv() else { panic!("a text") };
        assert!(["Ok(())", "Err(FdsRefused)"].contains(&told.as_str()), "{told}");
        let root = File::open("/").expect("a directory");
        let error = channel.send(Question::Double(root.into())).expect_err("perilous");
        let SendReason::RefusedFd(refused) = error.reason() else { panic!("{error:?}") };
        assert_eq!(refused.kind(), Some(FdKind::Directory));
        drop(channel);
        assert!(child.wait().expect("its status").success());
    }

    fn all_calls_end_at_once_when_the_child_is_killed() {
        let mut child = sh("exec sleep 100").spawn().expect("it starts");
        let channel = child.take_channel::<u64, u64>().expect("it is there");
        let mut killed = None;
        let ends = asked_in_vain(&channel, || {
            child.kill().expect("it runs");
            killed = Some(Instant::now());
        });
        assert!(killed.expect("it was").elapsed() < PROMPTLY, "they waited on");
        for end in &ends {
            let Err(CallError::NotReceived(error)) = end else { panic!("{end:?}") };
            assert!(error.is_final(), "{error:?}");
        }
        child.wait().expect("its status");
    }

    fn all_calls_end_at_once_although_a_grandchild_holds_the_end() {
        let mut child = sh("sleep 100 & echo $! >&3; wait").spawn().expect("it starts");
        let stream = child.take_stream().expect("it is there");
        let grandchild = LeftBehind::announced_on(&stream);
        let channel = Channel::<u64, u64>::from(stream);
        let mut killed = None;
        let ends = asked_in_vain(&channel, || {
            child.kill().expect("it runs");
            killed = Some(Instant::now());
        });
        assert!(killed.expect("it was").elapsed() < PROMPTLY, "they waited on");
        assert!(grandchild.runs(), "nobody kept the end");
        for end in &ends {
            let Err(CallError::NotReceived(RecvError::PeerGone(gone))) = end else {
                panic!("{end:?}")
            };
            assert_eq!(gone.id, child.id());
        }
        // A send learns it when there is no room left.
        let gone = std::iter::repeat_with(|| channel.send(1)).find_map(Result::err);
        let gone = gone.expect("it ends");
        assert!(matches!(gone.reason(), SendReason::PeerGone(_)), "{gone:?}");
        child.wait().expect("its status");
    }
}
