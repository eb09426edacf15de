//! What a descriptor is said to be, what a rule accepts, what a policy lets come and go.

use std::fs::File;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::net::{UnixDatagram, UnixListener};
use std::path::Path;

use rustix::event::{EventfdFlags, epoll};
use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags, inotify};
use rustix::process::PidfdFlags;
use rustix::time::{TimerfdClockId, TimerfdFlags};
use streampipe::{
    Access, Family, FdKind, FdPolicy, FdRule, Seals, SeqPacket, Stream, Type, WrongFd,
};
use streampipe_sys::open::numbers;

use crate::support::{self, Descriptors, identity, skip, tests_alone};

fn kind(fd: impl AsFd) -> FdKind {
    FdKind::of(fd).expect("the kernel says")
}

fn opened(path: impl AsRef<Path>, flags: OFlags) -> OwnedFd {
    rustix::fs::open(path.as_ref(), flags | OFlags::CLOEXEC, Mode::RUSR).expect("it opens")
}

fn memfd(flags: MemfdFlags) -> OwnedFd {
    rustix::fs::memfd_create(c"test", flags | MemfdFlags::CLOEXEC).expect("a memory file")
}

fn sealed(seals: Seals, bytes: u64) -> OwnedFd {
    let file = memfd(MemfdFlags::ALLOW_SEALING);
    rustix::fs::ftruncate(&file, bytes).expect("room");
    let seals = SealFlags::from_bits_retain(seals.as_raw());
    rustix::fs::fcntl_add_seals(&file, seals).expect("it can be sealed");
    file
}

fn pidfd_of_self() -> OwnedFd {
    rustix::process::pidfd_open(rustix::process::getpid(), PidfdFlags::empty()).expect("a pidfd")
}

fn a_file() -> OwnedFd {
    support::file_with(b"12345").into()
}

fn a_directory() -> OwnedFd {
    opened("/", OFlags::DIRECTORY)
}

fn a_pipe() -> (OwnedFd, OwnedFd) {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("a pipe")
}

fn null() -> OwnedFd {
    opened("/dev/null", OFlags::RDWR)
}

fn wrong(rule: &FdRule, fd: impl Into<OwnedFd>) -> WrongFd {
    rule.check(fd.into()).expect_err("something else")
}

const BOTH: Access = Access::ReadWrite;
const READ: Access = Access::ReadOnly;
const WRITE: Access = Access::WriteOnly;

tests_alone! {
    fn a_regular_file_is_told_with_what_it_was_opened_for() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let kind = |flags| kind(opened(file.path(), flags));
        assert_eq!(kind(OFlags::RDONLY), FdKind::File { access: READ });
        assert_eq!(kind(OFlags::RDWR), FdKind::File { access: BOTH });
        assert_eq!(kind(OFlags::WRONLY), FdKind::File { access: WRITE });
        assert_eq!(kind(OFlags::WRONLY | OFlags::APPEND), FdKind::File { access: WRITE });
        assert_eq!(kind(OFlags::RDWR | OFlags::NONBLOCK), FdKind::File { access: BOTH });
        assert_eq!(kind(OFlags::PATH), FdKind::Path);
        // The fourth access mode, for `ioctl` alone, is no reading.
        assert_eq!(kind(OFlags::WRONLY | OFlags::RDWR), FdKind::Other);
        assert_eq!(self::kind(a_file()), FdKind::File { access: BOTH });
    }

    fn files_that_are_empty_or_the_kernels_own_are_files() {
        assert_eq!(kind(support::file_with(b"")), FdKind::File { access: BOTH });
        let namespace = File::open("/proc/self/ns/uts").unwrap();
        assert_eq!(kind(namespace), FdKind::File { access: READ });
        assert_eq!(kind(File::open("/proc/self/status").unwrap()), FdKind::File { access: READ });
    }

    fn directories_and_places_are_told() {
        assert_eq!(kind(a_directory()), FdKind::Directory);
        assert_eq!(kind(opened("/proc/self", OFlags::RDONLY)), FdKind::Directory);
        assert_eq!(kind(opened("/", OFlags::PATH | OFlags::DIRECTORY)), FdKind::Path);
        assert_eq!(kind(opened("/dev/null", OFlags::PATH)), FdKind::Path);
        let at = tempfile::tempdir().unwrap();
        let link = at.path().join("link");
        std::os::unix::fs::symlink("/etc/passwd", &link).unwrap();
        assert_eq!(kind(opened(&link, OFlags::PATH | OFlags::NOFOLLOW)), FdKind::Path);
        let name = at.path().join("name");
        let _listener = UnixListener::bind(&name).unwrap();
        assert_eq!(kind(opened(&name, OFlags::PATH)), FdKind::Path);
    }

    fn devices_are_told() {
        assert_eq!(kind(null()), FdKind::CharDevice);
        let at_block = |entry: std::io::Result<std::fs::DirEntry>| {
            use std::os::unix::fs::FileTypeExt;
            let entry = entry.ok()?;
            entry.file_type().ok()?.is_block_device().then(|| entry.path())
        };
        let devices = std::fs::read_dir("/dev").unwrap().filter_map(at_block);
        match devices.filter_map(|it| File::open(it).ok()).next() {
            Some(device) => assert_eq!(kind(device), FdKind::BlockDevice),
            None => skip("a block device", "none can be opened"),
        }
    }

    fn both_ends_of_a_pipe_are_told() {
        let (reader, writer) = a_pipe();
        assert_eq!(kind(&reader), FdKind::Pipe { access: READ });
        assert_eq!(kind(&writer), FdKind::Pipe { access: WRITE });
        assert!(FdRule::pipe().matches(&reader).unwrap());
        assert!(FdRule::pipe().read_only().matches(&reader).unwrap());
        assert!(!FdRule::pipe().write_only().matches(&reader).unwrap());
        assert!(FdRule::pipe().write_only().matches(&writer).unwrap());
        assert!(FdRule::pipe().writable().matches(&writer).unwrap());
        assert!(!FdRule::pipe().readable().matches(&writer).unwrap());
    }

    fn a_pipe_with_a_name_is_a_pipe() {
        let at = tempfile::tempdir().unwrap();
        let name = at.path().join("fifo");
        rustix::fs::mknodat(rustix::fs::CWD, &name, rustix::fs::FileType::Fifo, Mode::RWXU, 0)
            .unwrap();
        let both = opened(&name, OFlags::RDWR);
        assert_eq!(kind(&both), FdKind::Pipe { access: BOTH });
        // It is neither end alone.
        assert!(FdRule::pipe().readable().writable().matches(&both).unwrap());
        assert!(!FdRule::pipe().read_only().matches(&both).unwrap());
        assert!(!FdRule::pipe().write_only().matches(&both).unwrap());
        let reader = opened(&name, OFlags::RDONLY | OFlags::NONBLOCK);
        assert_eq!(kind(reader), FdKind::Pipe { access: READ });
    }

    fn sockets_are_told_by_family_and_type() {
        let local = |kind| FdKind::Socket { family: Family::LOCAL, kind };
        let (stream, _peer) = Stream::pair().unwrap();
        assert_eq!(kind(&stream), local(Type::STREAM));
        let (packets, _peer) = SeqPacket::pair().unwrap();
        assert_eq!(kind(&packets), local(Type::SEQPACKET));
        assert_eq!(kind(UnixDatagram::unbound().unwrap()), local(Type::DGRAM));

        assert!(FdRule::socket(Type::STREAM).matches(&stream).unwrap());
        assert!(!FdRule::socket(Type::STREAM).matches(&packets).unwrap());
        assert!(!FdRule::listener(Type::STREAM).matches(&stream).unwrap());
        // The flags that `socketpair` takes with a type are no type.
        let nonblocking = Type::from_raw(Type::STREAM.as_raw() | numbers::SOCK_NONBLOCK);
        assert!(FdRule::socket(nonblocking).matches(&stream).unwrap());
        assert!(FdRule::socket(Type::STREAM).family(Family::LOCAL).matches(&stream).unwrap());
        let inet = Family::from_raw(numbers::AF_INET);
        assert!(!FdRule::socket(Type::STREAM).family(inet).matches(&stream).unwrap());
    }

    fn listeners_are_told_from_what_they_accept() {
        let at = tempfile::tempdir().unwrap();
        let local = UnixListener::bind(at.path().join("name")).unwrap();
        let told = FdKind::Listener { family: Family::LOCAL, kind: Type::STREAM };
        assert_eq!(kind(&local), told);

        let tcp = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let inet = Family::from_raw(numbers::AF_INET);
        assert_eq!(kind(&tcp), FdKind::Listener { family: inet, kind: Type::STREAM });
        let client = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
        assert_eq!(kind(&client), FdKind::Socket { family: inet, kind: Type::STREAM });

        let rule = FdRule::listener(Type::STREAM);
        assert!(rule.matches(&local).unwrap() && rule.matches(&tcp).unwrap());
        assert!(!rule.matches(&client).unwrap());
        assert!(!FdRule::socket(Type::STREAM).matches(&tcp).unwrap());
        let rule = rule.family(Family::LOCAL);
        assert!(rule.matches(&local).unwrap() && !rule.matches(&tcp).unwrap());
    }

    fn a_memory_file_is_told_with_every_set_of_seals() {
        let all = [Seals::SEAL, Seals::SHRINK, Seals::GROW, Seals::WRITE, Seals::FUTURE_WRITE];
        for chosen in 0_u32..1 << all.len() {
            let seals = (0..all.len()).filter(|it| chosen & (1 << it) != 0).map(|it| all[it]);
            let seals = seals.fold(Seals::NONE, |one, other| one | other);
            let file = sealed(seals, 8192);
            assert_eq!(kind(&file), FdKind::Memfd { seals, access: BOTH }, "{seals}");
            // Each rule asks for at least what it says.
            for seal in all {
                let matches = FdRule::memfd().sealed(seal).matches(&file).unwrap();
                assert_eq!(matches, seals.contains(seal), "{seal} of {seals}");
            }
            assert!(FdRule::memfd().sealed(seals).matches(&file).unwrap());
            assert!(!FdRule::file().matches(&file).unwrap());
        }
    }

    fn a_memory_file_that_cannot_be_sealed_is_one() {
        let file = memfd(MemfdFlags::empty());
        assert_eq!(kind(&file), FdKind::Memfd { seals: Seals::SEAL, access: BOTH });
        let again = File::open(format!("/proc/self/fd/{}", file.as_raw_fd())).unwrap();
        assert_eq!(kind(&again), FdKind::Memfd { seals: Seals::SEAL, access: READ });
        assert!(FdRule::memfd().read_only().matches(&again).unwrap());
        assert!(!FdRule::memfd().read_only().matches(&file).unwrap());
        match rustix::fs::memfd_create(c"test", MemfdFlags::CLOEXEC | MemfdFlags::NOEXEC_SEAL) {
            Ok(file) => assert_eq!(kind(file), FdKind::Memfd { seals: Seals::EXEC, access: BOTH }),
            Err(error) => skip("a memory file that cannot be executed", &error.to_string()),
        }
    }

    fn a_file_of_a_mounted_tmpfs_is_no_memory_file() {
        let at = Path::new("/dev/shm");
        let named = match tempfile::NamedTempFile::new_in(at) {
            Ok(named) if rustix::fs::fcntl_get_seals(&named).is_ok() => named,
            _ => return skip("a file of a mounted tmpfs", "/dev/shm is none, or takes no file"),
        };
        // The control: the kernel says of both what it says of a memory file without seals.
        let nameless = tempfile::tempfile_in(at).unwrap();
        for file in [named.as_file(), &nameless] {
            assert_eq!(rustix::fs::fcntl_get_seals(file).unwrap(), SealFlags::SEAL);
            assert_eq!(kind(file), FdKind::File { access: BOTH });
            assert!(!FdRule::memfd().matches(file).unwrap());
        }
        // Its name says it is one, as far as names say anything.
        let imitation = at.join("memfd:test (deleted)");
        let imitation = tempfile::Builder::new().prefix(&imitation).tempfile_in(at).unwrap();
        assert_eq!(kind(imitation.as_file()), FdKind::File { access: BOTH });
    }

    fn a_file_of_huge_pages_is_no_memory_file() {
        let flags = MemfdFlags::HUGETLB | MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC;
        let file = match rustix::fs::memfd_create(c"test", flags) {
            Ok(file) => file,
            Err(error) => return skip("a memory file of huge pages", &error.to_string()),
        };
        rustix::fs::fcntl_add_seals(&file, SealFlags::SHRINK).unwrap();
        assert_eq!(kind(&file), FdKind::HugePages { seals: Seals::SHRINK, access: BOTH });
        assert!(!FdRule::memfd().matches(&file).unwrap());
        assert!(!FdRule::memfd().sealed(Seals::SHRINK).matches(&file).unwrap());
        assert!(!FdRule::file().matches(&file).unwrap());
    }

    fn a_pidfd_is_told_of_the_living_and_of_the_dead() {
        assert_eq!(kind(pidfd_of_self()), FdKind::Pidfd);
        let mut child = std::process::Command::new("true").spawn().unwrap();
        let id = rustix::process::Pid::from_child(&child);
        let pidfd = rustix::process::pidfd_open(id, PidfdFlags::empty()).unwrap();
        child.wait().unwrap();
        assert_eq!(kind(&pidfd), FdKind::Pidfd);
        assert!(FdRule::pidfd().matches(&pidfd).unwrap());
    }

    fn other_objects_of_the_kernel_are_told() {
        let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        assert_eq!(kind(&event), FdKind::EventFd);
        let instance = epoll::create(epoll::CreateFlags::CLOEXEC).unwrap();
        assert_eq!(kind(&instance), FdKind::Epoll);
        let clock = TimerfdClockId::Monotonic;
        let timer = rustix::time::timerfd_create(clock, TimerfdFlags::CLOEXEC).unwrap();
        assert_eq!(kind(&timer), FdKind::Timer);
        assert_eq!(kind(inotify::init(inotify::CreateFlags::CLOEXEC).unwrap()), FdKind::Other);
        let signals = streampipe_sys::signal::SignalSet::of(&[numbers::SIGTERM]);
        let signals = streampipe_sys::signal::SignalFd::open(&signals).unwrap();
        assert_eq!(kind(&signals), FdKind::Other);
        for other in [event, instance, timer] {
            assert!(!FdRule::pidfd().matches(&other).unwrap());
        }
    }

    fn a_file_that_has_the_name_of_an_object_is_a_file() {
        let at = tempfile::tempdir().unwrap();
        for name in ["[pidfd]", "[eventfd]", "[eventpoll]", "[timerfd]"] {
            let name = at.path().join(format!("anon_inode:{name}"));
            let file = File::create_new(&name).unwrap();
            assert_eq!(kind(&file), FdKind::File { access: BOTH });
            std::fs::remove_file(&name).unwrap();
            assert_eq!(kind(&file), FdKind::File { access: BOTH });
            assert!(!FdRule::pidfd().matches(&file).unwrap());
        }
    }

    fn a_question_changes_nothing() {
        let (reader, writer) = a_pipe();
        rustix::io::write(&writer, b"x").unwrap();
        let event = rustix::event::eventfd(3, EventfdFlags::CLOEXEC).unwrap();
        let mut file = File::from(a_file());
        let before = Descriptors::now();
        for fd in [reader.as_fd(), event.as_fd(), file.as_fd()] {
            let flags = rustix::fs::fcntl_getfl(fd).unwrap();
            kind(fd);
            assert_eq!(rustix::fs::fcntl_getfl(fd).unwrap(), flags);
        }
        assert_eq!(before, Descriptors::now());
        assert!(support::readable_within(reader.as_fd(), std::time::Duration::ZERO));
        let mut count = [0; 8];
        rustix::io::read(&event, &mut count).unwrap();
        assert_eq!(u64::from_ne_bytes(count), 3);
        assert_eq!(std::io::Seek::stream_position(&mut file).unwrap(), 0);
    }

    fn a_check_gives_the_very_descriptor_back() {
        let file = a_file();
        let (number, what) = (file.as_raw_fd(), identity(&file));
        let file = FdRule::file().check(file).expect("a file");
        assert_eq!((file.as_raw_fd(), identity(&file)), (number, what));
        let error = wrong(&FdRule::pipe(), file);
        assert_eq!(error.expected(), &FdRule::pipe());
        assert_eq!(error.found(), Some(FdKind::File { access: BOTH }));
        assert_eq!(error.index(), None);
        let file = error.into_fd();
        assert_eq!((file.as_raw_fd(), identity(&file)), (number, what));
    }

    fn an_error_turned_into_one_of_io_keeps_the_descriptor() {
        let before = Descriptors::now();
        let file = a_file();
        let number = file.as_raw_fd();
        let error: std::io::Error = wrong(&FdRule::pipe(), file).into();
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidData);
        assert_eq!(
            error.to_string(),
            "expected a pipe, found a regular file open for reading and writing"
        );
        let inside = error.get_ref().and_then(|inside| inside.downcast_ref::<WrongFd>());
        assert_eq!(inside.map(WrongFd::expected), Some(&FdRule::pipe()));
        let error = error.into_inner().expect("inside").downcast::<WrongFd>().expect("it");
        let file = error.into_fd();
        assert_eq!(file.as_raw_fd(), number);
        // Dropped, it closes it.
        drop(std::io::Error::from(wrong(&FdRule::pipe(), file)));
        assert_eq!(before, Descriptors::now());
    }

    fn a_length_is_held_to_and_told() {
        let file = sealed(Seals::SHRINK, 4096);
        for (bytes, is_enough) in [(0, true), (1, true), (4096, true), (4097, false), (u64::MAX, false)] {
            assert_eq!(FdRule::memfd().at_least(bytes).matches(&file).unwrap(), is_enough, "{bytes}");
        }
        let error = wrong(&FdRule::memfd().sealed(Seals::SHRINK).at_least(8192), file);
        assert_eq!(
            error.to_string(),
            "expected a memfd with SHRINK of at least 8192 bytes, found a memfd open for reading \
             and writing, with SHRINK, 4096 bytes long"
        );
        assert!(FdRule::file().at_least(5).matches(a_file()).unwrap());
        assert!(!FdRule::file().at_least(6).matches(a_file()).unwrap());
        // A directory has a size, which is no length.
        assert!(!FdRule::directory().at_least(1).matches(a_directory()).unwrap());
        // The larger of two holds.
        assert!(!FdRule::file().at_least(6).at_least(5).matches(a_file()).unwrap());
    }

    fn a_word_that_does_not_fit_the_kind_leaves_nothing() {
        let (end, _peer) = Stream::pair().unwrap();
        assert!(!FdRule::socket(Type::STREAM).read_only().matches(&end).unwrap());
        assert!(!FdRule::socket(Type::STREAM).writable().matches(&end).unwrap());
        assert!(!FdRule::directory().sealed(Seals::SHRINK).matches(a_directory()).unwrap());
        assert!(!FdRule::pidfd().family(Family::LOCAL).matches(pidfd_of_self()).unwrap());
        assert!(!FdRule::file().read_only().write_only().matches(a_file()).unwrap());
        // A place is not open for reading, though the kernel's number for it is that of reading.
        assert!(!FdRule::any().read_only().matches(opened("/", OFlags::PATH)).unwrap());
        assert!(FdRule::any().matches(opened("/", OFlags::PATH)).unwrap());
        assert!(!FdRule::directory().matches(opened("/", OFlags::PATH)).unwrap());
    }

    fn read_only_and_writable_files_are_told_apart() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let open = |flags| opened(file.path(), flags);
        let (reader, writer) = (open(OFlags::RDONLY), open(OFlags::WRONLY));
        let both = open(OFlags::RDWR);
        let three = [&reader, &writer, &both];
        let matching = |rule: FdRule| three.map(|fd| rule.matches(fd).unwrap());
        assert_eq!(matching(FdRule::file()), [true; 3]);
        assert_eq!(matching(FdRule::file().read_only()), [true, false, false]);
        assert_eq!(matching(FdRule::file().write_only()), [false, true, false]);
        assert_eq!(matching(FdRule::file().writable()), [false, true, true]);
        assert_eq!(matching(FdRule::file().readable()), [true, false, true]);
        assert_eq!(matching(FdRule::file().readable().writable()), [false, false, true]);
    }

    /// What `read_only` says of itself: who holds such a descriptor can write all the same.
    fn a_memory_file_that_is_read_only_can_be_opened_again_unless_it_is_sealed() {
        let again = |file: &OwnedFd, flags| {
            rustix::fs::open(format!("/proc/self/fd/{}", file.as_raw_fd()), flags, Mode::empty())
        };
        let read_only = |file: &OwnedFd| again(file, OFlags::RDONLY | OFlags::CLOEXEC).unwrap();
        let open = read_only(&sealed(Seals::SHRINK, 4));
        assert!(FdRule::memfd().read_only().matches(&open).unwrap());
        let writer = again(&open, OFlags::RDWR | OFlags::CLOEXEC).unwrap();
        rustix::io::write(&writer, b"evil").expect("it is not read-only");

        let open = read_only(&sealed(Seals::WRITE, 4));
        assert!(FdRule::memfd().sealed(Seals::WRITE).matches(&open).unwrap());
        let writer = again(&open, OFlags::RDWR | OFlags::CLOEXEC).unwrap();
        let error = rustix::io::write(&writer, b"evil").unwrap_err();
        assert_eq!(error, rustix::io::Errno::PERM);
    }

    fn one_of_several_is_enough_and_words_behind_hold_for_all() {
        let rule = FdRule::one_of([FdRule::file().read_only(), FdRule::pipe(), FdRule::pidfd()]);
        let (reader, writer) = a_pipe();
        assert!(rule.matches(&reader).unwrap() && rule.matches(pidfd_of_self()).unwrap());
        assert!(!rule.matches(a_file()).unwrap());
        assert_eq!(
            wrong(&rule, a_directory()).to_string(),
            "expected a regular file open for reading alone, a pipe or a pidfd, found a directory"
        );
        let rule = rule.write_only();
        assert!(!rule.matches(&reader).unwrap() && rule.matches(&writer).unwrap());
        // A length within is asked for, too.
        let rule = FdRule::one_of([FdRule::pipe(), FdRule::file().at_least(6)]);
        assert!(rule.matches(&reader).unwrap() && !rule.matches(a_file()).unwrap());
        let rule = FdRule::one_of([FdRule::pipe(), FdRule::file().at_least(5)]);
        assert!(rule.matches(a_file()).unwrap());

        let nothing = FdRule::one_of([]);
        assert_eq!(
            wrong(&nothing, a_directory()).to_string(),
            "expected no descriptor, found a directory"
        );
        assert!(FdRule::one_of([nothing, FdRule::any()]).matches(&reader).unwrap());
    }

    fn a_policy_that_says_nothing_lets_everything_through() {
        let (directory, place) = (a_directory(), opened("/", OFlags::PATH));
        for policy in [FdPolicy::new(), FdPolicy::default(), FdPolicy::new().accept(FdRule::any())] {
            policy.check_outgoing(&[directory.as_fd(), place.as_fd()]).unwrap();
            let mut fds = vec![a_directory(), null(), a_file()];
            policy.check_incoming(&mut fds).unwrap();
            assert_eq!(fds.len(), 3);
        }
    }

    fn what_a_policy_accepts_may_come_and_nothing_else() {
        let policy = FdPolicy::new().accept(FdRule::file()).accept(FdRule::pidfd());
        let policy = policy.accept(FdRule::socket(Type::STREAM));
        let (end, _peer) = Stream::pair().unwrap();
        let mut fds = vec![pidfd_of_self(), end.into(), a_file()];
        let numbers: Vec<_> = fds.iter().map(AsRawFd::as_raw_fd).collect();
        policy.check_incoming(&mut fds).unwrap();
        assert_eq!(fds.iter().map(AsRawFd::as_raw_fd).collect::<Vec<_>>(), numbers);

        fds.insert(1, a_directory());
        fds.push(null());
        let directory = identity(&fds[1]);
        let wrong = policy.check_incoming(&mut fds).unwrap_err();
        assert_eq!((wrong.index(), wrong.found()), (Some(1), Some(FdKind::Directory)));
        assert_eq!(
            wrong.to_string(),
            "descriptor 1: expected a regular file, a pidfd or a SOCK_STREAM socket, found a directory"
        );
        assert_eq!(identity(wrong.into_fd()), directory);
        // The others are still there, in their order.
        assert_eq!(fds[..3].iter().map(AsRawFd::as_raw_fd).collect::<Vec<_>>(), numbers);
        assert_eq!(policy.check_incoming(&mut fds).unwrap_err().index(), Some(3));
        assert_eq!(policy.check_incoming(&mut Vec::new()).ok(), Some(()));
        // Accepting anything beside something is accepting anything.
        policy.accept(FdRule::any()).check_incoming(&mut vec![null()]).unwrap();
    }

    fn a_policy_does_not_loosen_a_rule_by_adding_one() {
        let files = FdRule::one_of([FdRule::file(), FdRule::memfd()]).read_only();
        let policy = FdPolicy::new().accept(files).accept(FdRule::pidfd());
        let mut fds = vec![pidfd_of_self()];
        policy.check_incoming(&mut fds).unwrap();
        policy.check_incoming(&mut vec![a_file()]).unwrap_err();
    }

    fn what_is_perilous_goes_to_an_untrusted_peer_only_with_a_word() {
        let policy = FdPolicy::new().untrusted_peer();
        let (directory, device) = (a_directory(), null());
        let (place, place_of_device) = (opened("/", OFlags::PATH), opened("/dev/null", OFlags::PATH));
        let all = [directory.as_fd(), device.as_fd(), place.as_fd(), place_of_device.as_fd()];
        let refused = |policy: &FdPolicy| all.map(|fd| policy.check_outgoing(&[fd]).is_err());
        assert_eq!(refused(&policy), [true; 4]);
        assert_eq!(refused(&policy.clone().allow_directories()), [false, true, true, true]);
        assert_eq!(refused(&policy.clone().allow_devices()), [true, false, true, true]);
        assert_eq!(refused(&policy.clone().allow_paths()), [true, true, false, false]);
        // The words hold in any order.
        let words = FdPolicy::new().allow_directories().allow_devices().untrusted_peer();
        assert_eq!(refused(&words), [false, false, true, true]);
        assert_eq!(refused(&words.allow_paths()), [false; 4]);
        assert_eq!(refused(&FdPolicy::new().accept(FdRule::pipe())), [false; 4]);
    }

    fn everything_else_goes_to_an_untrusted_peer() {
        let policy = FdPolicy::new().untrusted_peer();
        let (end, _peer) = Stream::pair().unwrap();
        let (reader, _writer) = a_pipe();
        let event = rustix::event::eventfd(0, EventfdFlags::CLOEXEC).unwrap();
        let (pidfd, memory, file) = (pidfd_of_self(), sealed(Seals::WRITE, 1), a_file());
        let fds: [BorrowedFd<'_>; 6] = [
            end.as_fd(), reader.as_fd(), event.as_fd(), pidfd.as_fd(), memory.as_fd(), file.as_fd(),
        ];
        policy.check_outgoing(&fds).unwrap();
        policy.check_outgoing(&[]).unwrap();
    }

    fn the_first_that_may_not_go_is_named() {
        let (file, directory, device) = (a_file(), a_directory(), null());
        let fds = [file.as_fd(), file.as_fd(), directory.as_fd(), device.as_fd()];
        let refused = FdPolicy::new().untrusted_peer().check_outgoing(&fds).unwrap_err();
        assert_eq!((refused.index(), refused.kind()), (2, Some(FdKind::Directory)));
        let text = "descriptor 2 is a directory, and may not go to an untrusted peer";
        assert_eq!(refused.to_string(), text);
        let error: std::io::Error = refused.into();
        assert_eq!((error.kind(), error.to_string().as_str()), (std::io::ErrorKind::InvalidInput, text));
        assert!(error.get_ref().unwrap().is::<streampipe::RefusedFd>());
    }
}

#[test]
fn seals_are_written_by_their_names() {
    assert_eq!(Seals::NONE.to_string(), "no seals");
    assert_eq!((Seals::WRITE | Seals::SEAL).to_string(), "SEAL | WRITE");
    assert_eq!((Seals::from_raw(0x300) | Seals::EXEC).to_string(), "EXEC | 0x300");
    assert_eq!(format!("{:?}", Seals::GROW), "Seals(GROW)");
    assert!(Seals::GROW.contains(Seals::NONE) && !Seals::NONE.contains(Seals::GROW));
    assert!(!(Seals::GROW | Seals::SEAL).contains(Seals::GROW | Seals::SHRINK));
}

#[test]
fn every_kind_has_a_name_for_people() {
    let (family, kind) = (Family::LOCAL, Type::SEQPACKET);
    let (access, seals) = (READ, Seals::SHRINK);
    let names = [
        (FdKind::Pipe { access: WRITE }, "a pipe open for writing"),
        (FdKind::Listener { family, kind }, "a listening SOCK_SEQPACKET socket of AF_LOCAL"),
        (FdKind::Memfd { seals: Seals::NONE, access }, "a memfd open for reading, with no seals"),
        (FdKind::HugePages { seals, access }, "a file of huge pages open for reading, with SHRINK"),
        (FdKind::Path, "an O_PATH descriptor"),
        (FdKind::Other, "a descriptor of another kind"),
    ];
    for (kind, name) in names {
        assert_eq!(kind.to_string(), name);
    }
    let rule = FdRule::file().readable().writable();
    assert_eq!(rule.to_string(), "a regular file open for reading and writing");
    let rule = FdRule::listener(Type::STREAM).family(Family::LOCAL);
    assert_eq!(rule.to_string(), "a listening SOCK_STREAM socket of AF_LOCAL");
    assert_eq!(
        FdRule::file().read_only().write_only().to_string(),
        "a regular file open for nothing"
    );
}

/// Counts the calls that a body makes, by the marks it sets before and after.
fn calls_between_marks(path: &str) -> Option<Vec<String>> {
    if !support::has_program("strace", "the calls of a policy that checks nothing") {
        return None;
    }
    let log = tempfile::NamedTempFile::new().expect("a temporary file");
    let ran =
        support::rerun(path, &["strace", "-f", "-qq", "-o", log.path().to_str().expect("text")]);
    assert!(ran.status.success(), "{}", ran.output);
    let log = std::fs::read_to_string(log.path()).expect("the log");
    let calls = log.lines().skip_while(|line| !line.contains("getppid(")).skip(1);
    let calls = calls.take_while(|line| !line.contains("getppid("));
    Some(calls.map(str::to_owned).collect())
}

fn marked(body: impl FnOnce()) {
    let _ = rustix::process::getppid();
    body();
    let _ = rustix::process::getppid();
}

const FREE: &str = concat!(module_path!(), "::a_policy_that_checks_nothing_asks_nothing");

#[test]
fn a_policy_that_checks_nothing_asks_nothing() {
    if support::is_alone(FREE) {
        return support::checked(|| {
            let mut fds = vec![a_file(), a_directory()];
            let file = a_file();
            let all = FdPolicy::new().untrusted_peer().allow_directories().allow_devices();
            let all = all.allow_paths().accept(FdRule::one_of([FdRule::pipe(), FdRule::any()]));
            let none = FdPolicy::new();
            marked(|| {
                for policy in [&all, &none] {
                    policy.check_incoming(&mut fds).unwrap();
                    policy.check_outgoing(&[file.as_fd()]).unwrap();
                }
                FdRule::any().matches(&file).unwrap();
            });
        });
    }
    if let Some(calls) = calls_between_marks(FREE) {
        assert_eq!(calls, Vec::<String>::new());
    }
}

const CHEAP: &str = concat!(module_path!(), "::what_is_sent_costs_two_questions");

/// The control of the test above, and a bound: what is sent is asked about twice, and no more.
#[test]
fn what_is_sent_costs_two_questions() {
    if support::is_alone(CHEAP) {
        return support::checked(|| {
            let file = a_file();
            let policy = FdPolicy::new().untrusted_peer();
            // The library under us finds out once whether there is `statx`.
            policy.check_outgoing(&[file.as_fd()]).unwrap();
            marked(|| policy.check_outgoing(&[file.as_fd()]).unwrap());
        });
    }
    if let Some(calls) = calls_between_marks(CHEAP) {
        assert_eq!(calls.len(), 2, "{calls:#?}");
        assert!(
            calls[0].contains("F_GETFL") && calls[1].contains("AT_STATX_DONT_SYNC"),
            "{calls:#?}"
        );
    }
}

const SILENT: &str =
    concat!(module_path!(), "::a_kernel_that_does_not_say_is_an_error_that_gives_back");

#[test]
fn a_kernel_that_does_not_say_is_an_error_that_gives_back() {
    if support::is_alone(SILENT) {
        return support::checked(|| {
            let file = a_file();
            let what = file.as_raw_fd();
            let error = wrong(&FdRule::file(), file);
            assert_eq!(error.found(), None);
            assert!(error.to_string().contains("Permission denied"), "{error}");
            assert_eq!(error.cause().and_then(std::io::Error::raw_os_error), Some(13));
            assert!(std::error::Error::source(&error).is_none(), "the text has it");
            let file = error.into_fd();
            assert_eq!(file.as_raw_fd(), what);
            let refused =
                FdPolicy::new().untrusted_peer().check_outgoing(&[file.as_fd()]).unwrap_err();
            assert_eq!((refused.index(), refused.kind()), (0, None));
            assert!(refused.to_string().contains("Permission denied"), "{refused}");
            assert_eq!(refused.cause().and_then(std::io::Error::raw_os_error), Some(13));
            assert!(std::error::Error::source(&refused).is_none(), "the text has it");
        });
    }
    if !support::has_program("strace", "a kernel that does not say what a descriptor is") {
        return;
    }
    let inject = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", "inject=fcntl:error=EACCES"];
    let ran = support::rerun(SILENT, &inject);
    assert!(ran.status.success(), "{}", ran.output);
}
