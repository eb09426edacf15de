//! The environments, and what must come of each step in them.

use std::time::Duration;

use crate::calls::{CALLS, ENOSYS, EPERM};
use crate::confine::{Match, Rule};
use crate::probe::Inside;
use crate::steps::STEPS;

/// A step that fails.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fails {
    pub(crate) step: &'static str,
    /// A part of what its error says.
    pub(crate) said: &'static str,
    /// Whether it always does, or depends on who is faster.
    pub(crate) always: bool,
}

fn fails(step: &'static str, said: &'static str) -> Fails {
    Fails { step, said, always: true }
}

/// An environment.
pub(crate) struct World {
    pub(crate) name: String,
    /// The words in front of the probe.
    pub(crate) around: Vec<String>,
    /// The system calls that a filter answers.
    pub(crate) filter: Vec<Rule>,
    /// What the probe does to itself.
    pub(crate) inside: Inside,
    /// The steps that fail; all others work.
    pub(crate) fails: Vec<Fails>,
    /// Whether a debugger has to stop in front of each step.
    pub(crate) stops: bool,
    /// How long all steps may take.
    pub(crate) limit: Duration,
    /// Why it does not run by itself yet.
    pub(crate) ignored: Option<&'static str>,
}

fn world(name: impl Into<String>) -> World {
    World {
        name: name.into(),
        around: Vec::new(),
        filter: Vec::new(),
        inside: Inside::Nothing,
        fails: Vec::new(),
        stops: false,
        limit: Duration::from_secs(60),
        ignored: None,
    }
}

impl World {
    fn around(mut self, words: &[&str]) -> Self {
        self.around = words.iter().map(|&word| word.to_owned()).collect();
        self
    }

    fn inside(mut self, inside: Inside) -> Self {
        self.inside = inside;
        self
    }

    fn filter(mut self, filter: impl IntoIterator<Item = Rule>) -> Self {
        self.filter = filter.into_iter().collect();
        self
    }

    fn fails(mut self, steps: impl IntoIterator<Item = Fails>) -> Self {
        self.fails.extend(steps);
        self
    }
}

/// All of them, the long ones first.
pub(crate) fn all() -> Vec<World> {
    let mut all = vec![
        World {
            limit: Duration::from_secs(300),
            ..world("valgrind").around(&["valgrind", "-q", "--tool=none"])
        },
        debugger(),
        World {
            limit: Duration::from_secs(120),
            ..world("qemu-user").around(&[&format!("qemu-{}", std::env::consts::ARCH)])
        },
        world("nothing special"),
    ];
    all.extend(namespaces());
    all.extend(rights());
    all.extend(limits());
    all.extend(profiles());
    for call in CALLS {
        for (errno, name) in [(libc::EPERM, "EPERM"), (libc::ENOSYS, "ENOSYS")] {
            let world = world(format!("{} is {name}", call.name));
            all.push(world.filter(call.rules(errno)).fails(call.fails(errno)));
        }
    }
    let may_change_users = rustix::process::geteuid().is_root();
    for world in &mut all {
        world.ignored = PENDING.iter().find(|(name, _)| *name == world.name).map(|(_, why)| *why);
        if !may_change_users && !world.fails.iter().any(|it| it.step == "another user") {
            world.fails.push(fails("another user", EPERM));
        }
    }
    all
}

/// What does not hold yet.
const PENDING: &[(&str, &str)] = &[
    ("valgrind", "a start waits until the program ends"),
    ("gdb", "a start with another user loses the breakpoints"),
    ("qemu-user", "no clone with a pidfd"),
    ("clone without a pidfd", "nothing starts"),
    ("Linux 5.4, no /proc", "nothing starts"),
    ("no /dev", "an error does not name /dev/null"),
    ("RLIMIT_FSIZE 0", "making a ring kills"),
    ("RLIMIT_NOFILE 0", "no bounded wait works"),
    ("container profile of 2019", "nothing can be signalled"),
    ("container profile of 2019, newer runtime", "nothing can be signalled"),
    ("pidfd_send_signal is EPERM", "nothing can be signalled"),
    ("pidfd_send_signal is ENOSYS", "nothing can be signalled"),
    ("waitid is EPERM", "no status is to be had"),
    ("waitid is ENOSYS", "no status is to be had"),
    ("getsockopt is EPERM", "no program gets an end"),
    ("getsockopt is ENOSYS", "no program gets an end"),
    ("preadv2 is EPERM", "no pipe can be read"),
    ("pwritev2 is EPERM", "no pipe can be written"),
];

/// Stops in front of each step, and goes on.
fn debugger() -> World {
    let mut words = vec!["gdb", "-q", "-nx", "-batch", "-ex", "break streampipe_probe_marker"];
    words.extend(["-ex", "run"]);
    words.extend(STEPS.iter().flat_map(|_| ["-ex", "continue"]));
    words.push("--args");
    World { stops: true, ..world("gdb").around(&words) }
}

/// What containers and `unshare` make.
fn namespaces() -> Vec<World> {
    let without = |folder| World { around: empty_folder(folder), ..world(format!("no {folder}")) };
    let child = ["unshare", "-p", "-f", "--kill-child"];
    vec![
        without("/proc"),
        // Whoever asks for nothing to be read asks for `/dev/null`.
        without("/dev").fails([fails("output", "/dev/null")]),
        // Which `unshare -r` forbids.
        world("a user namespace without setgroups")
            .around(&["unshare", "-U", "-r"])
            .fails([fails("another user", "Invalid argument")]),
        world("PID 1 of a namespace").around(&child),
        world("PID 1, and /proc is its own").around(&[&child[..], &["--mount-proc"]].concat()),
        world("bubblewrap")
            .around(&[
                "bwrap",
                "--ro-bind",
                "/",
                "/",
                "--dev",
                "/dev",
                "--proc",
                "/proc",
                "--unshare-all",
                "--die-with-parent",
            ])
            .fails([fails("another user", "Invalid argument")]),
    ]
}

/// The words that put nothing in the place of a folder.
fn empty_folder(folder: &str) -> Vec<String> {
    let script = format!("mount --make-rprivate / && mount -t tmpfs none {folder} && exec \"$@\"");
    ["unshare", "-m", "sh", "-c", &script, "sh"].map(str::to_owned).to_vec()
}

/// What `setpriv` takes away.
fn rights() -> Vec<World> {
    let nobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"];
    vec![
        world("without CAP_DAC_OVERRIDE").around(&["setpriv", "--bounding-set", "-dac_override"]),
        world("nobody").around(&nobody).fails([fails("another user", EPERM)]),
    ]
}

fn limits() -> Vec<World> {
    let closed =
        |number| world(format!("descriptor {number} closed")).inside(Inside::Closes(number));
    let open_now = ["prepared pairs", "deadline"];
    let opening = STEPS.iter().map(|(step, _)| *step).filter(|step| !open_now.contains(step));
    vec![
        closed(0),
        closed(1),
        closed(2),
        // A ring is a file, if one without a name.
        world("RLIMIT_FSIZE 0")
            .around(&["prlimit", "--fsize=0"])
            .fails(["ring pair", "ring child"].map(|step| fails(step, "File too large"))),
        // Enough for what the library maps, and not for another gigabyte.
        world("RLIMIT_AS 1 GiB").around(&["prlimit", "--as=1073741824"]),
        world("RLIMIT_NOFILE 16").inside(Inside::LimitsDescriptors(16)),
        // As who closes the door behind itself: what is open goes on.
        world("RLIMIT_NOFILE 0")
            .inside(Inside::LimitsDescriptors(0))
            .fails(opening.map(|step| fails(step, "Too many open files"))),
        world("a signal each millisecond").inside(Inside::IsInterrupted),
    ]
}

/// The filters of container managers.
fn profiles() -> Vec<World> {
    let all = |calls: &[&'static str], errno| -> Vec<Rule> {
        calls.iter().map(|&call| Rule { call, only: None, errno }).collect()
    };
    // Calls that came later than the profile: what it does not know is EPERM, under newer runtimes ENOSYS.
    let later = [
        "clone3",
        "close_range",
        "epoll_pwait2",
        "faccessat2",
        "openat2",
        "pidfd_getfd",
        "pidfd_open",
        "pidfd_send_signal",
        "process_madvise",
    ];
    // Calls that no profile allows, and new namespaces.
    let mut never =
        all(&["unshare", "setns", "kcmp", "userfaultfd", "io_uring_setup"], libc::EPERM);
    let namespaces = Match::HasAnyBitOf(0x7e02_0000);
    never.push(Rule { call: "clone", only: Some((0, namespaces)), errno: libc::EPERM });
    let profile = |name: &str, rules| world(name).filter([rules, never.clone()].concat());
    let unknown = |calls: &[&'static str]| all(calls, libc::ENOSYS);
    let clone_pidfd = Some((0, Match::HasAnyBitOf(0x1000)));
    let no_pidfd = |said| ["fork", "zygote"].map(|step| fails(step, said));
    vec![
        profile("container profile of 2019", all(&later, libc::EPERM)).fails(no_pidfd(EPERM)),
        profile("container profile of 2019, newer runtime", all(&later, libc::ENOSYS))
            .fails(no_pidfd(ENOSYS)),
        // A chroot, as package builders make, under the oldest kernel that is supported.
        World {
            around: empty_folder("/proc"),
            ..world("Linux 5.4, no /proc").filter(unknown(&later[1..6]))
        },
        world("clone without a pidfd").filter(
            [
                unknown(&["clone3"]),
                vec![Rule { call: "clone", only: clone_pidfd, errno: libc::EINVAL }],
            ]
            .concat(),
        ),
        profile("container profile of today", all(&["clone3"], libc::ENOSYS)),
    ]
}
