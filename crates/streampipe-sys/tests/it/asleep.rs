//! What a program is asleep in, told by the numbers of its own calls.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use streampipe_sys::job::procfs::{Activity, AsleepIn, activity};
use streampipe_sys::open;
use streampipe_sys::process;
use streampipe_sys::spawn::{Placement, Setup, Step, spawn};

use crate::support::{self, tests_alone};

/// Longer than a program takes to come to its call.
const LIMIT: Duration = Duration::from_secs(20);

/// A program of 32 bits for x86, which makes this call with descriptor 9 and a byte, then exits.
fn program_of_32_bits(call: u8) -> tempfile::TempPath {
    const ADDRESS: u32 = 0x0804_8000;
    const HEADERS: u32 = 52 + 32;
    let mut code = vec![0xb8, call, 0, 0, 0]; // mov eax, call
    code.extend([0xbb, 9, 0, 0, 0]); // mov ebx, 9
    code.extend([0x89, 0xe1]); // mov ecx, esp
    code.extend([0xba, 1, 0, 0, 0]); // mov edx, 1
    code.extend([0xcd, 0x80]); // int 0x80
    code.extend([0xb8, 1, 0, 0, 0, 0x31, 0xdb, 0xcd, 0x80]); // exit(0)
    let size = HEADERS + u32::try_from(code.len()).expect("small");
    let mut file = Vec::from(*b"\x7fELF\x01\x01\x01\0\0\0\0\0\0\0\0\0");
    let halves = |file: &mut Vec<u8>, words: &[u16]| {
        words.iter().for_each(|word| file.extend(word.to_le_bytes()));
    };
    let words = |file: &mut Vec<u8>, words: &[u32]| {
        words.iter().for_each(|word| file.extend(word.to_le_bytes()));
    };
    // An executable for the 386, with one program header behind this one.
    halves(&mut file, &[2, 3]);
    words(&mut file, &[1, ADDRESS + HEADERS, 52, 0, 0]);
    halves(&mut file, &[52, 32, 1, 0, 0, 0]);
    // All of it is loaded, readable and executable.
    words(&mut file, &[1, 0, ADDRESS, ADDRESS, size, size, 5, 0x1000]);
    file.extend(code);
    let mut at = tempfile::NamedTempFile::new().expect("a temporary file");
    at.write_all(&file).expect("room");
    at.as_file().set_permissions(std::fs::Permissions::from_mode(0o755)).expect("our own");
    at.into_temp_path()
}

/// Fills a pipe, so that a write waits.
fn fill(writer: &OwnedFd) {
    let before = rustix::fs::fcntl_getfl(writer).expect("open");
    rustix::fs::fcntl_setfl(writer, before | rustix::fs::OFlags::NONBLOCK).expect("our own");
    while rustix::io::write(writer, &[0; 4096]).is_ok() {}
    while rustix::io::write(writer, &[0]).is_ok() {}
    rustix::fs::fcntl_setfl(writer, before).expect("our own");
}

/// Whether a process is seen asleep in such a call.
fn is_asleep(pid: i32, is_awaited: fn(&AsleepIn) -> bool) -> bool {
    matches!(activity(pid), Activity::Asleep(asleep) if is_awaited(&asleep))
}

/// Whether the program is seen asleep in such a call, with this as its descriptor 9; nothing if such programs do not run here.
fn seen(
    program: &std::path::Path,
    at_9: &OwnedFd,
    is_awaited: fn(&AsleepIn) -> bool,
) -> Option<bool> {
    let image = crate::spawn::image_from(program.to_str().expect("text"), &["x"], None);
    let setup = Setup {
        placements: vec![Placement { source: at_9.as_fd(), target: 9 }],
        ..Setup::default()
    };
    let spawned = match spawn(&image.expect("it is there"), &setup) {
        Ok(spawned) => spawned,
        Err(error) if error.step == Step::Exec => return None,
        Err(error) => panic!("{error:?}"),
    };
    let deadline = Instant::now() + LIMIT;
    let mut is_seen = false;
    while !is_seen && Instant::now() < deadline {
        is_seen = is_asleep(spawned.pid, is_awaited);
        std::thread::yield_now();
    }
    process::signal(spawned.pidfd.as_fd(), libc::SIGKILL).expect("our child");
    process::wait(spawned.pidfd.as_fd()).expect("our child");
    Some(is_seen)
}

tests_alone! {
    fn a_program_of_32_bits_is_understood() {
        let what = "what a program of 32 bits is asleep in";
        if cfg!(not(target_arch = "x86_64")) {
            return support::skip(what, "only x86 programs are at hand");
        }
        let (reader, writer) = open::pipe().expect("a pipe");
        match seen(&program_of_32_bits(3), &reader, |it| matches!(it, AsleepIn::Read(9, _))) {
            None => return support::skip(what, "this kernel runs none"),
            Some(is_seen) => assert!(is_seen, "it reads descriptor 9"),
        }
        fill(&writer);
        assert_eq!(seen(&program_of_32_bits(4), &writer, |it| matches!(it, AsleepIn::Write(9, _))), Some(true));
        // `pause`, which nobody reports by name.
        assert_eq!(seen(&program_of_32_bits(29), &reader, |it| *it == AsleepIn::Other), Some(true));
    }

    fn a_program_like_this_one_is_understood() {
        let (reader, writer) = open::pipe().expect("a pipe");
        let head = std::path::Path::new("/bin/sh");
        let image = crate::spawn::image_from(head.to_str().expect("text"), &["sh", "-c", "read x <&9"], None);
        let setup = Setup {
            placements: vec![Placement { source: reader.as_fd(), target: 9 }],
            ..Setup::default()
        };
        let spawned = spawn(&image.expect("it is there"), &setup).expect("it starts");
        let deadline = Instant::now() + LIMIT;
        // The shell reads its descriptor 0, which is a copy.
        while !is_asleep(spawned.pid, |it| matches!(it, AsleepIn::Read(0, _))) {
            assert!(Instant::now() < deadline, "{:?}", activity(spawned.pid));
            std::thread::yield_now();
        }
        drop(writer);
        process::wait(spawned.pidfd.as_fd()).expect("our child");
    }
}
