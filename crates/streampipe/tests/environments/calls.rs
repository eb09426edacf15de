//! The calls that a filter, a kernel or a C library may refuse, and what happens without each: the table of PLATFORM.md.

use crate::confine::{Match, Rule};
use crate::worlds::Fails;

pub(crate) const EPERM: &str = "Operation not permitted";
pub(crate) const ENOSYS: &str = "Function not implemented";

/// A call, and which steps fail without it.
pub(crate) struct Call {
    /// As the table has it.
    pub(crate) name: &'static str,
    /// Only with this argument.
    only: Option<(u32, Match)>,
    fails: &'static [Without],
}

/// What becomes of a step without the call.
#[derive(Clone, Copy)]
enum Without {
    /// It fails with the refusal.
    Refused(&'static str),
    /// It fails where the call does not exist (`ENOSYS`); a refusal is passed over.
    Unknown(&'static str),
    /// It fails with something else.
    Spoiled(&'static str),
    /// It fails with the refusal, if it has to ask.
    MayBeRefused(&'static str),
}

use Without::{MayBeRefused, Refused, Spoiled, Unknown};

const fn call(name: &'static str) -> Call {
    Call { name, only: None, fails: &[] }
}

impl Call {
    const fn only(self, place: u32, compare: Match) -> Self {
        Self { only: Some((place, compare)), ..self }
    }

    const fn without(self, fails: &'static [Without]) -> Self {
        Self { fails, ..self }
    }

    /// The filter that refuses it.
    pub(crate) fn rules(&self, errno: i32) -> [Rule; 1] {
        [Rule { call: self.name, only: self.only, errno }]
    }

    /// The steps that fail if it is refused with this number.
    pub(crate) fn fails(&self, errno: i32) -> impl Iterator<Item = Fails> {
        let refusal = if errno == libc::EPERM { EPERM } else { ENOSYS };
        self.fails.iter().filter_map(move |without| match *without {
            Unknown(_) if errno != libc::ENOSYS => None,
            Refused(step) | Unknown(step) => Some(Fails { step, said: refusal, always: true }),
            Spoiled(step) => Some(Fails { step, said: "", always: true }),
            MayBeRefused(step) => Some(Fails { step, said: refusal, always: false }),
        })
    }
}

/// `waitid` of a pidfd.
const P_PIDFD: u32 = 3;

const JOINS: &[Without] = &[Refused("join"), Refused("tokio"), Refused("the command")];

const RINGS: &[Without] = &[Refused("ring pair"), Refused("ring child")];

const USERS: &[Without] = &[Unknown("the same user"), Unknown("another user")];

pub(crate) const CALLS: &[Call] = &[
    call("clone3"),
    call("close_range"),
    call("epoll_create1").without(JOINS),
    call("epoll_ctl").without(JOINS),
    call("epoll_pwait2"),
    call("eventfd2").without(&[Refused("tokio")]),
    call("faccessat2"),
    call("fstatfs").without(&[Spoiled("ring child")]),
    call("getdents64"),
    call("getsockopt"),
    call("ioctl").without(&[
        Refused("ring pair"),
        MayBeRefused("output"),
        MayBeRefused("the command"),
    ]),
    call("kcmp"),
    call("madvise").without(RINGS),
    call("memfd_create").without(RINGS),
    call("pidfd_open").without(&[Refused("fork"), Refused("zygote")]),
    call("pidfd_send_signal"),
    call("prctl").without(&[Refused("join"), Refused("the command")]),
    call("preadv2"),
    call("prlimit64"),
    call("pwritev2"),
    call("sched_getaffinity"),
    call("setgroups").without(USERS),
    call("setsockopt"),
    call("signalfd4").without(&[Refused("the command")]),
    call("statx"),
    call("unshare"),
    call("waitid").only(0, Match::Equals(P_PIDFD)),
];
