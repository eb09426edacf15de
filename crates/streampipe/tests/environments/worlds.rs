//! The environments, and what must come of each step in them.

use std::time::Duration;

use tempfile::NamedTempFile;

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
    /// The word in front of its children that are this program again; the others run as they are.
    pub(crate) around_parts: Option<String>,
    /// The system calls that a filter answers.
    pub(crate) filter: Vec<Rule>,
    /// What the probe does to itself.
    pub(crate) inside: Inside,
    /// The steps that fail; all others work.
    pub(crate) fails: Vec<Fails>,
    /// Where it is noted which calls are made, if it is.
    pub(crate) trace: Option<NamedTempFile>,
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
        around_parts: None,
        filter: Vec::new(),
        inside: Inside::Nothing,
        fails: Vec::new(),
        trace: None,
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
            // Before 3.20 it knows no `pidfd_open`.
            fails: ["fork", "zygote"]
                .map(|step| Fails { always: false, ..fails(step, ENOSYS) })
                .to_vec(),
            ..world("valgrind").around(&["valgrind", "-q", "--tool=none"])
        },
        debugger(),
        emulator(),
        tracer(),
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
const PENDING: &[(&str, &str)] = &[];

/// Stops in front of each step, and goes on.
fn debugger() -> World {
    let mut words = vec!["gdb", "-q", "-nx", "-batch", "-ex", "break streampipe_probe_marker"];
    words.extend(["-ex", "run"]);
    words.extend(STEPS.iter().flat_map(|_| ["-ex", "continue"]));
    words.push("--args");
    World { stops: true, ..world("gdb").around(&words) }
}

/// Sees which calls are made.
fn tracer() -> World {
    let log = NamedTempFile::new().expect("a temporary file");
    let to = log.path().to_str().expect("a plain name").to_owned();
    let world = world("strace").around(&["strace", "-f", "-qq", "-o", &to]);
    World { trace: Some(log), ..world }
}

/// As where the kernel was told to run programs of another processor so: the children, too.
fn emulator() -> World {
    let emulator = format!("qemu-{}", std::env::consts::ARCH);
    World { around_parts: Some(emulator.clone()), around: vec![emulator], ..world("qemu-user") }
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
            .fails([fails("another user", "(os error 22)")]),
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
            .fails([fails("another user", "(os error 22)")]),
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
            .fails(["ring pair", "ring child"].map(|step| fails(step, "(os error 27)"))),
        // Enough for what the library maps, and not for another gigabyte.
        world("RLIMIT_AS 1 GiB").around(&["prlimit", "--as=1073741824"]),
        world("RLIMIT_NOFILE 16").inside(Inside::LimitsDescriptors(16)),
        // As who closes the door behind itself: what is open goes on.
        world("RLIMIT_NOFILE 0")
            .inside(Inside::LimitsDescriptors(0))
            .fails(opening.map(|step| fails(step, "(os error 24)"))),
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
