use std::fs::File;
use std::os::fd::AsFd;
use std::thread;

use rustix::fs::{Mode, OFlags};
use streampipe::{
    CallError, Fd, FdKind, FdPolicy, FdRule, RawChannel, RecvError, SendReason, channel,
};

use crate::support::{file_with, identity, tests_alone};

fn root() -> Fd {
    File::open("/").expect("a directory").into()
}

fn null() -> Fd {
    File::open("/dev/null").expect("a device").into()
}

fn path() -> Fd {
    let flags = OFlags::PATH | OFlags::CLOEXEC;
    rustix::fs::open("/etc/passwd", flags, Mode::empty()).expect("a path").into()
}

/// What is refused, as the kernel sees it.
fn refused(reason: &SendReason) -> (usize, Option<FdKind>) {
    let SendReason::RefusedFd(refused) = reason else { panic!("{reason:?}") };
    (refused.index(), refused.kind())
}

tests_alone! {
    fn what_is_perilous_goes_over_a_channel_only_with_a_word() {
        type Make = fn() -> Fd;
        type Allow = fn(FdPolicy) -> FdPolicy;
        let cases: [(Make, FdKind, Allow); 3] = [
            (root, FdKind::Directory, FdPolicy::allow_directories),
            (null, FdKind::CharDevice, FdPolicy::allow_devices),
            (path, FdKind::Path, FdPolicy::allow_paths),
        ];
        for (make, kind, allow) in cases {
            let (ours, theirs) = channel::<Vec<Fd>, Vec<Fd>>().expect("a pair");
            let untrusted = FdPolicy::new().untrusted_peer();
            ours.set_policy(untrusted.clone());
            let file = Fd::from(file_with(b"harmless"));
            let (given, error) = (identity(&file), ours.send(vec![file, make()]));
            let (value, reason) = error.expect_err("perilous").into_parts();
            assert_eq!(refused(&reason), (1, Some(kind)));
            assert_eq!((identity(&value[0]), value.len()), (given, 2));
            let error = ours.try_send(&value).expect_err("by reference, too");
            assert_eq!(refused(error.reason()), (1, Some(kind)));
            let Err(CallError::NotSent(error)) = ours.call(value) else { panic!("perilous") };
            assert_eq!(refused(error.reason()), (1, Some(kind)));
            assert!(matches!(theirs.try_recv(), Err(RecvError::Empty)), "some of it was sent");
            ours.set_policy(allow(untrusted));
            ours.send(error.into_inner()).expect("there was a word");
            assert_eq!(theirs.recv().expect("it was sent").len(), 2);
            theirs.send(vec![make()]).expect("the other way there is no policy");
        }
    }

    fn a_raw_channel_and_an_answer_obey_the_policy_too() {
        let (ours, _theirs) = RawChannel::pair().expect("a pair");
        ours.set_policy(FdPolicy::new().untrusted_peer());
        let error = ours.send(b"x", &[root().as_fd()]).expect_err("perilous");
        assert_eq!(refused(error.reason()), (0, Some(FdKind::Directory)));

        let (client, server) = channel::<(), Fd>().expect("a pair");
        server.set_policy(FdPolicy::new().untrusted_peer());
        thread::scope(|scope| {
            scope.spawn(|| {
                let request = server.recv_request().expect("a request");
                let error = request.answer(root()).expect_err("perilous");
                assert_eq!(refused(error.reason()), (0, Some(FdKind::Directory)));
                let fd = error.into_inner();
                assert!(FdRule::directory().matches(&fd).expect("it is open"));
            });
            assert!(matches!(client.call(()), Err(CallError::NoAnswer)));
        });
    }

    fn a_descriptor_that_is_not_accepted_comes_back_in_the_error() {
        let (ours, theirs) = channel::<(), (u8, Fd, Fd)>().expect("a pair");
        ours.set_policy(FdPolicy::new().accept(FdRule::file().read_only()));
        let (good, bad) = (File::open("/etc/passwd").expect("a file"), file_with(b"writable"));
        let expected = identity(&bad);
        theirs.send((1, good.into(), bad.into())).expect("room");
        let Err(RecvError::WrongFd(wrong)) = ours.recv() else { panic!("it can be written") };
        assert_eq!(wrong.index(), Some(1));
        assert_eq!(identity(wrong.into_fd()), expected);
        let good = || Fd::from(File::open("/etc/passwd").expect("a file"));
        theirs.send((2, good(), good())).expect("room");
        assert_eq!(ours.recv().expect("both are good").0, 2);
    }

    fn an_answer_that_is_not_accepted_reaches_the_one_who_asked() {
        let (client, server) = channel::<u8, Fd>().expect("a pair");
        client.set_policy(FdPolicy::new().accept(FdRule::pipe()));
        thread::scope(|scope| {
            scope.spawn(|| server.recv_request().expect("one").answer(null()).expect("room"));
            let answer = client.call(1);
            let Err(CallError::NotReceived(RecvError::WrongFd(wrong))) = answer else {
                panic!("{answer:?}")
            };
            assert_eq!(wrong.found(), Some(FdKind::CharDevice));
        });
    }
}
