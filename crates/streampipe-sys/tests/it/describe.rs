//! What the kernel says about descriptors, and whom it asks: never the one who serves the file.

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, AsRawFd, FromRawFd, OwnedFd};
use std::path::Path;
use std::sync::{Arc, Mutex};

use streampipe_sys::describe::{self, Anonymous, Memory, Mode, Node};
use streampipe_sys::{open, process};

use crate::support::{self, file_with, tests_alone};

/// The numbers of `linux/fuse.h` for requests.
const LOOKUP: u32 = 1;
const FORGET: u32 = 2;
const GETATTR: u32 = 3;
const OPEN: u32 = 14;
const STATFS: u32 = 17;
const RELEASE: u32 = 18;
const FLUSH: u32 = 25;
const INIT: u32 = 26;
const OPENDIR: u32 = 27;
const RELEASEDIR: u32 = 29;
const BATCH_FORGET: u32 = 42;

/// A file system served by a thread of this process, which writes down what it is asked.
struct Fuse {
    at: tempfile::TempDir,
    asked: Arc<Mutex<Vec<u32>>>,
    server: Option<std::thread::JoinHandle<()>>,
}

impl Fuse {
    /// `Err` says why there is none here.
    fn mount() -> Result<Self, String> {
        let device = File::options().read(true).write(true).open("/dev/fuse");
        let device = device.map_err(|error| format!("/dev/fuse: {error}"))?;
        let at = tempfile::tempdir().expect("a temporary directory");
        let options = format!(
            "fd={},rootmode=40755,user_id={},group_id={}",
            device.as_raw_fd(),
            rustix::process::getuid().as_raw(),
            rustix::process::getgid().as_raw()
        );
        mount(at.path(), &options).map_err(|error| format!("mount: {error}"))?;
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&asked);
        let server = std::thread::spawn(move || serve(device, &heard));
        Ok(Self { at, asked, server: Some(server) })
    }

    /// What it was asked while the body ran, without what comes late from earlier.
    fn asked_during(&self, body: impl FnOnce()) -> Vec<u32> {
        self.asked.lock().unwrap().clear();
        body();
        let late = [FORGET, RELEASE, FLUSH, RELEASEDIR, BATCH_FORGET];
        let mut asked = self.asked.lock().unwrap().clone();
        asked.retain(|it| !late.contains(it));
        asked
    }
}

impl Drop for Fuse {
    fn drop(&mut self) {
        let at = c_string(self.at.path());
        // SAFETY: the string ends with a NUL and lives through the call.
        unsafe { libc::umount2(at.as_ptr(), libc::MNT_DETACH) };
        self.server.take().map(std::thread::JoinHandle::join);
    }
}

fn c_string(path: &Path) -> std::ffi::CString {
    std::ffi::CString::new(path.to_str().expect("text")).expect("no NUL")
}

fn mount(at: &Path, options: &str) -> std::io::Result<()> {
    let (at, options) = (c_string(at), std::ffi::CString::new(options).expect("no NUL"));
    // SAFETY: all strings end with a NUL and live through the call.
    let mounted = unsafe {
        libc::mount(
            c"streampipe".as_ptr(),
            at.as_ptr(),
            c"fuse".as_ptr(),
            libc::MS_NOSUID | libc::MS_NODEV,
            options.as_ptr().cast(),
        )
    };
    if mounted == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// Answers until the file system is unmounted. Attributes are stale at once, so that every question
/// about them that may be asked is.
fn serve(mut device: File, asked: &Mutex<Vec<u32>>) {
    let mut request = vec![0; 64 * 1024];
    while let Ok(length) = device.read(&mut request) {
        let word = |at: usize| u32::from_ne_bytes(request[at..at + 4].try_into().unwrap());
        assert!(length >= 40, "a header has 40 bytes");
        let opcode = word(4);
        asked.lock().unwrap().push(opcode);
        let node = u64::from(word(16)) | (u64::from(word(20)) << 32);
        let body = match opcode {
            FORGET | BATCH_FORGET => continue,
            INIT => words(&[7, 31, 0, 0, 0, 4096, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            // Node 2, generation 0, no time for which the name or the attributes would hold.
            LOOKUP => [words(&[2, 0, 0, 0, 0, 0, 0, 0, 0, 0]), attributes(2)].concat(),
            GETATTR => [words(&[0, 0, 0, 0]), attributes(node)].concat(),
            OPEN | OPENDIR => words(&[0, 0, 0, 0]),
            STATFS => words(&[0; 20]),
            RELEASE | RELEASEDIR | FLUSH => Vec::new(),
            _ => {
                answer(&mut device, &request, -libc::ENOSYS, &[]);
                continue;
            }
        };
        answer(&mut device, &request, 0, &body);
    }
}

fn answer(device: &mut File, request: &[u8], error: i32, body: &[u8]) {
    let length = u32::try_from(16 + body.len()).unwrap();
    let reply =
        [&length.to_ne_bytes()[..], &error.to_ne_bytes()[..], &request[8..16], body].concat();
    // Who asked may be gone.
    let _ = device.write_all(&reply);
}

fn words(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_ne_bytes()).collect()
}

/// `struct fuse_attr`: the root is a directory, all else a file of 5 bytes.
fn attributes(node: u64) -> Vec<u8> {
    let mode = if node == 1 { 0o040_755 } else { 0o100_644 };
    let node = u32::try_from(node).unwrap();
    // ino, size, blocks, three times of 8 bytes; three of 4; mode, nlink, uid, gid, rdev, blksize, flags.
    words(&[node, 0, 5, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, mode, 1, 0, 0, 0, 512, 0])
}

fn opened(path: impl AsRef<Path>, flags: rustix::fs::OFlags) -> OwnedFd {
    let flags = flags | rustix::fs::OFlags::CLOEXEC;
    rustix::fs::open(path.as_ref(), flags, rustix::fs::Mode::RUSR).expect("it opens")
}

/// A descriptor that a C call made.
fn made(number: i32) -> OwnedFd {
    assert!(number >= 0, "{}", std::io::Error::last_os_error());
    // SAFETY: the call that made it succeeded, and nobody else owns it.
    unsafe { OwnedFd::from_raw_fd(number) }
}

fn eventfd() -> OwnedFd {
    // SAFETY: the call takes two numbers and touches no memory of ours.
    made(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC) })
}

fn timerfd() -> OwnedFd {
    // SAFETY: the call takes two numbers and touches no memory of ours.
    made(unsafe { libc::timerfd_create(libc::CLOCK_MONOTONIC, libc::TFD_CLOEXEC) })
}

fn epoll() -> OwnedFd {
    // SAFETY: the call takes one number and touches no memory of ours.
    made(unsafe { libc::epoll_create1(libc::EPOLL_CLOEXEC) })
}

fn inotify() -> OwnedFd {
    // SAFETY: the call takes one number and touches no memory of ours.
    made(unsafe { libc::inotify_init1(libc::IN_CLOEXEC) })
}

fn memfd(flags: rustix::fs::MemfdFlags) -> std::io::Result<OwnedFd> {
    let flags = flags | rustix::fs::MemfdFlags::CLOEXEC;
    Ok(rustix::fs::memfd_create(c"test", flags)?)
}

/// The mounted tmpfs that most systems have.
fn shared_memory() -> Option<&'static Path> {
    let at = Path::new("/dev/shm");
    let is_there = tempfile::tempfile_in(at)
        .is_ok_and(|file| describe::seals(file.as_fd()).expect("F_GET_SEALS").is_some());
    if !is_there {
        support::skip(
            "files of a mounted tmpfs",
            "no file can be made in /dev/shm, or it is no tmpfs",
        );
    }
    is_there.then_some(at)
}

tests_alone! {
    fn the_mode_is_that_of_the_open() {
        use rustix::fs::OFlags;
        let file = tempfile::NamedTempFile::new().unwrap();
        let mode = |flags| describe::mode(opened(file.path(), flags).as_fd()).unwrap();
        assert_eq!(mode(OFlags::RDONLY), Mode::Read);
        assert_eq!(mode(OFlags::WRONLY), Mode::Write);
        assert_eq!(mode(OFlags::WRONLY | OFlags::APPEND | OFlags::NONBLOCK), Mode::Write);
        assert_eq!(mode(OFlags::RDWR | OFlags::SYNC), Mode::ReadWrite);
        assert_eq!(mode(OFlags::PATH), Mode::Path);
        assert_eq!(mode(OFlags::WRONLY | OFlags::RDWR), Mode::Neither);
    }

    fn facts_are_those_of_fstat() {
        let file = file_with(b"12345");
        let facts = describe::facts(file.as_fd()).unwrap();
        assert_eq!((facts.node, facts.size, facts.has_name), (Node::Regular, 5, false));
        let told = rustix::fs::fstat(&file).unwrap();
        let device = (rustix::fs::major(told.st_dev), rustix::fs::minor(told.st_dev));
        assert_eq!(facts.device, device);
        let named = tempfile::NamedTempFile::new().unwrap();
        assert!(describe::facts(named.as_fd()).unwrap().has_name);

        let node = |fd: &OwnedFd| describe::facts(fd.as_fd()).unwrap().node;
        let (reader, writer) = open::pipe().unwrap();
        assert_eq!((node(&reader), node(&writer)), (Node::Fifo, Node::Fifo));
        let (end, _peer) = open::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0).unwrap();
        assert_eq!(node(&end), Node::Socket);
        assert_eq!(node(&open::null().unwrap()), Node::CharDevice);
        assert_eq!(node(&opened("/", rustix::fs::OFlags::RDONLY)), Node::Directory);
        assert_eq!(node(&eventfd()), Node::Anonymous);
    }

    fn nothing_but_a_pidfd_is_a_pidfd() {
        let own = process::open_own().unwrap();
        assert!(describe::is_pidfd(own.as_fd()));
        let (end, _peer) = open::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0).unwrap();
        // The last is what `pidfd_send_signal` takes for one.
        let others = [
            eventfd(), timerfd(), epoll(), inotify(), open::null().unwrap(), end,
            file_with(b"").into(), opened("/", rustix::fs::OFlags::RDONLY),
            opened("/proc/self", rustix::fs::OFlags::PATH),
            opened("/proc/self", rustix::fs::OFlags::RDONLY),
        ];
        for other in &others {
            assert!(!describe::is_pidfd(other.as_fd()), "{:?}", describe::facts(other.as_fd()));
        }
        process::signal(others.last().unwrap().as_fd(), 0).expect("the control: it does");
    }

    fn a_pidfd_is_one_whatever_became_of_the_process() {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let pidfd = process::open(child.id() as i32).unwrap();
        support::ends_within(child.id(), std::time::Duration::from_secs(60));
        assert!(describe::is_pidfd(pidfd.as_fd()), "of a process that has ended");
        // Asking has not reaped it.
        assert!(child.wait().unwrap().success());
        assert!(describe::is_pidfd(pidfd.as_fd()), "of a process that is gone");
        // One on which a wait that waited would say `EAGAIN`.
        let pid = rustix::process::getpid();
        let flags = rustix::process::PidfdFlags::NONBLOCK;
        if let Ok(pidfd) = rustix::process::pidfd_open(pid, flags) {
            assert!(describe::is_pidfd(pidfd.as_fd()));
        }
    }

    fn objects_without_a_file_are_told_apart() {
        assert_eq!(describe::anonymous(eventfd().as_fd()), Anonymous::EventFd);
        assert_eq!(describe::anonymous(epoll().as_fd()), Anonymous::Epoll);
        assert_eq!(describe::anonymous(timerfd().as_fd()), Anonymous::Timer);
        assert_eq!(describe::anonymous(inotify().as_fd()), Anonymous::Other);
    }

    fn what_has_seals_says_which() {
        let flags = rustix::fs::MemfdFlags::ALLOW_SEALING;
        let file = memfd(flags).unwrap();
        assert_eq!(describe::seals(file.as_fd()).unwrap(), Some(0));
        let set = rustix::fs::SealFlags::SHRINK | rustix::fs::SealFlags::GROW;
        rustix::fs::fcntl_add_seals(&file, set).unwrap();
        assert_eq!(describe::seals(file.as_fd()).unwrap(), Some(6));
        assert_eq!(describe::memory(file.as_fd()).unwrap(), Memory::Ordinary);
        for other in [eventfd(), open::null().unwrap(), process::open_own().unwrap()] {
            assert_eq!(describe::seals(other.as_fd()).unwrap(), None);
        }
    }

    fn a_memory_file_is_told_from_a_file_in_memory() {
        let is_memfd = |fd: &OwnedFd| {
            let seals = describe::seals(fd.as_fd()).unwrap().expect("seals");
            (seals, describe::is_memfd(seals, &describe::facts(fd.as_fd()).unwrap()))
        };
        // Both say that they have `F_SEAL_SEAL` and no name.
        assert_eq!(is_memfd(&memfd(rustix::fs::MemfdFlags::empty()).unwrap()), (1, true));
        if let Some(at) = shared_memory() {
            assert_eq!(is_memfd(&tempfile::tempfile_in(at).unwrap().into()), (1, false));
            let named = tempfile::NamedTempFile::new_in(at).unwrap();
            assert_eq!(is_memfd(&named.into_file().into()), (1, false));
        }
    }

    fn huge_pages_are_told_from_others() {
        match memfd(rustix::fs::MemfdFlags::HUGETLB | rustix::fs::MemfdFlags::ALLOW_SEALING) {
            Err(error) => support::skip("a memory file of huge pages", &error.to_string()),
            Ok(file) => {
                assert_eq!(describe::seals(file.as_fd()).unwrap(), Some(0));
                assert_eq!(describe::memory(file.as_fd()).unwrap(), Memory::HugePages);
            }
        }
    }

    fn whoever_serves_a_file_is_not_asked_about_it() {
        let fuse = match Fuse::mount() {
            Ok(fuse) => fuse,
            Err(why) => return support::skip("questions about a file of a FUSE system", &why),
        };
        let file: OwnedFd = File::open(fuse.at.path().join("file")).expect("it serves").into();
        let root = opened(fuse.at.path(), rustix::fs::OFlags::DIRECTORY);
        let asked = fuse.asked_during(|| {
            for (fd, node) in [(&file, Node::Regular), (&root, Node::Directory)] {
                assert_eq!(describe::mode(fd.as_fd()).unwrap(), Mode::Read);
                assert_eq!(describe::facts(fd.as_fd()).unwrap().node, node);
                assert_eq!(describe::seals(fd.as_fd()).unwrap(), None);
                assert!(!describe::is_pidfd(fd.as_fd()));
                assert_eq!(describe::anonymous(fd.as_fd()), Anonymous::Other);
            }
        });
        assert_eq!(asked, [], "the server was asked");

        // The control: the obvious calls do ask, and would wait if it did not answer.
        let asked = fuse.asked_during(|| assert!(rustix::fs::fstat(&file).is_ok()));
        assert_eq!(asked, [GETATTR]);
        let asked = fuse.asked_during(|| assert!(rustix::fs::fstatfs(&file).is_ok()));
        assert_eq!(asked, [STATFS]);
    }
}

const OLD: &str = concat!(module_path!(), "::without_statx_fstat_is_asked");

#[test]
fn without_statx_fstat_is_asked() {
    // ENOSYS of a kernel, EPERM of a filter, EINVAL of a C library that does not know the call.
    for errno in ["ENOSYS", "EPERM", "EINVAL"] {
        behind_a_filter(OLD, &format!("inject=statx:error={errno}"), || {
            let facts = describe::facts(file_with(b"12345").as_fd()).unwrap();
            assert_eq!((facts.node, facts.size, facts.has_name), (Node::Regular, 5, false));
        });
    }
}

const CONFINED: &str =
    concat!(module_path!(), "::who_may_make_no_memory_file_goes_by_seals_and_names");

#[test]
fn who_may_make_no_memory_file_goes_by_seals_and_names() {
    // Made first, as by somebody else.
    behind_a_filter(CONFINED, "inject=memfd_create:error=EPERM:when=3+", || {
        let plain = memfd(rustix::fs::MemfdFlags::empty()).unwrap();
        let sealable = memfd(rustix::fs::MemfdFlags::ALLOW_SEALING).unwrap();
        assert!(memfd(rustix::fs::MemfdFlags::empty()).is_err(), "nothing was injected");
        let is_memfd = |fd: &OwnedFd| {
            let seals = describe::seals(fd.as_fd()).unwrap().expect("seals");
            describe::is_memfd(seals, &describe::facts(fd.as_fd()).unwrap())
        };
        assert!(is_memfd(&sealable) && is_memfd(&plain));
        if let Some(at) = shared_memory() {
            let named = tempfile::NamedTempFile::new_in(at).unwrap();
            assert!(!is_memfd(&named.as_file().try_clone().unwrap().into()));
        }
    });
}

/// Runs the body under `strace`, which makes calls fail as a filter or an old kernel would.
pub(crate) fn behind_a_filter(path: &str, inject: &str, body: impl FnOnce()) {
    if support::is_alone(path) {
        return support::checked(body);
    }
    if !support::has_program("strace", "descriptions behind a filter") {
        return;
    }
    let log = tempfile::NamedTempFile::new().expect("a temporary file");
    let log_path = log.path().to_str().expect("text");
    let ran = support::rerun(path, &["strace", "-f", "-qq", "-o", log_path, "-e", inject]);
    assert!(ran.status.success(), "{}", ran.output);
    let log = std::fs::read_to_string(log.path()).expect("the log");
    assert!(log.contains("(INJECTED)"), "nothing was injected");
    support::pass_on_skips(&ran.output);
}

const OPTIONS: &str = concat!(module_path!(), "::a_socket_is_known_where_options_are_not");

/// An emulated kernel may not know `SO_DOMAIN` and `SO_ACCEPTCONN`: the first and the second question, or the third.
#[test]
fn a_socket_is_known_where_options_are_not() {
    for which in ["when=1", "when=2", "when=3"] {
        let inject = format!("inject=getsockopt:error=ENOPROTOOPT:{which}");
        behind_a_filter(OPTIONS, &inject, || {
            let (a, _b) = streampipe_sys::open::socketpair(libc::AF_UNIX, libc::SOCK_STREAM, 0)
                .expect("a pair");
            match streampipe_sys::sockopt::socket_kind(&a) {
                Ok(kind) => {
                    assert_eq!((kind.domain, kind.kind), (libc::AF_UNIX, libc::SOCK_STREAM));
                    assert!(!kind.listens);
                }
                // The type is what nobody can do without.
                Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ENOPROTOOPT)),
            }
        });
    }
}
