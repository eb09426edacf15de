//! Starting a child that holds the other end: what it costs beside a bare `posix_spawn`, in parents
//! of three sizes; a zygote's worker beside a started program; the time until a death is noticed.

use std::ffi::CString;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::ptr;
use std::time::{Duration, Instant};

use command_fds::{CommandFdExt, FdMapping};
use compare::measure::{Way, print_machine, rounds, timed};
use streampipe::{Command, Stream, Zygote};

const PROGRAM: &str = "/bin/true";
const ROUNDS: usize = 41;
const GIB: usize = 1 << 30;

fn main() -> io::Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("--worker") => return streampipe::inherited()?.write_all(b"x"),
        Some("--echo") => return echo(),
        _ => {}
    }
    // First, while this process is small and has one thread.
    let zygote = Zygote::start(|mut stream| i32::from(stream.write_all(b"x").is_err()))?;
    print_machine()?;
    println!("| work | way | median | ratio | rounds |\n|---|---|---|---|---|");
    let mut touched = 0;
    for (label, gib) in [("0 GiB touched", 0), ("1 GiB touched", 1), ("4 GiB touched", 4)] {
        touch((gib - touched) * GIB)?;
        touched = gib;
        spawning(&format!("spawn, {label}"))?;
        first_bytes(&format!("first byte, {label}"), &zygote)?;
    }
    round_trips()?;
    deaths()
}

/// The child's part of a round trip.
fn echo() -> io::Result<()> {
    let mut parent = streampipe::inherited()?;
    let mut message = [0; 64];
    while parent.read_exact(&mut message).is_ok() {
        parent.write_all(&message)?;
    }
    Ok(())
}

/// What it costs that a call on a child's end waits for the child's death as well.
fn round_trips() -> io::Result<()> {
    const TIMES: u32 = 1000;
    let trips = |mut stream: Stream| {
        move || {
            let mut message = [7; 64];
            let (time, ()) = timed(|| {
                for _ in 0..TIMES {
                    stream.write_all(&message)?;
                    stream.read_exact(&mut message)?;
                }
                Ok(())
            })?;
            Ok(time / TIMES)
        }
    };
    let start = || Command::new("/proc/self/exe").arg("--echo").spawn();
    // Two processes on one processor hand over in 3 µs, on two in 40; which it is, is luck, and lasts.
    let everywhere = stay_on(None)?;
    let (mut first, mut second) = (start()?, start()?);
    let plain = OwnedFd::from(first.take_stream().expect("a fresh one"));
    let plain = Stream::try_from(plain).map_err(io::Error::other)?;
    let watching = second.take_stream().expect("a fresh one");
    let mut ways: Vec<Way<'_>> = vec![
        ("an end that watches nobody", Box::new(trips(plain))),
        ("the end of a child", Box::new(trips(watching))),
    ];
    rounds("64 B there and back, two processes", ROUNDS, &mut ways)?;
    drop(ways);
    stay_on(Some(everywhere))?;
    first.wait()?;
    second.wait().map(drop)
}

/// Keeps this thread, and the children it starts, on the first processor, or where it was before.
fn stay_on(place: Option<libc::cpu_set_t>) -> io::Result<libc::cpu_set_t> {
    // SAFETY: all zeros is an empty set.
    let mut before: libc::cpu_set_t = unsafe { std::mem::zeroed() };
    let mut first = before;
    // SAFETY: processor 0 is within a set.
    unsafe { libc::CPU_SET(0, &mut first) };
    let size = size_of::<libc::cpu_set_t>();
    // SAFETY: the pointer is to a set of the size said.
    let read = unsafe { libc::sched_getaffinity(0, size, &mut before) };
    // SAFETY: the pointer is to a set of the size said.
    let set = unsafe { libc::sched_setaffinity(0, size, &place.unwrap_or(first)) };
    if read < 0 || set < 0 { Err(io::Error::last_os_error()) } else { Ok(before) }
}

/// Memory of small pages, each written once; it stays.
fn touch(bytes: usize) -> io::Result<()> {
    if bytes == 0 {
        return Ok(());
    }
    let protection = libc::PROT_READ | libc::PROT_WRITE;
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS;
    // SAFETY: a fresh anonymous mapping at an address of the kernel's choice, never unmapped.
    let base = unsafe { libc::mmap(ptr::null_mut(), bytes, protection, flags, -1, 0) };
    if base == libc::MAP_FAILED {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: advice on the mapping just made.
    unsafe { libc::madvise(base, bytes, libc::MADV_NOHUGEPAGE) };
    for offset in (0..bytes).step_by(4096) {
        // SAFETY: the offset is inside the mapping, which nobody else uses.
        unsafe { base.cast::<u8>().add(offset).write_volatile(1) };
    }
    Ok(())
}

/// The time of the call that starts; waiting is not timed.
///
/// Those that fork have rounds of their own: a fork leaves this process's pages write-protected, and
/// whoever comes next in the same round would pay for it.
fn spawning(work: &str) -> io::Result<()> {
    let mut ways: Vec<Way<'_>> = vec![
        ("posix_spawn, bare", Box::new(bare)),
        ("streampipe::Command, an end as 3", Box::new(ours)),
        ("std, socket as stdin", Box::new(std_stdin)),
    ];
    rounds(work, ROUNDS, &mut ways)?;
    let mut ways: Vec<Way<'_>> = vec![
        ("posix_spawn, bare, after those below", Box::new(bare)),
        ("std, pre_exec and dup2", Box::new(std_pre_exec)),
        ("command-fds 0.3.3", Box::new(their_command_fds)),
    ];
    rounds(work, ROUNDS, &mut ways)
}

fn bare() -> io::Result<Duration> {
    let path = CString::new(PROGRAM)?;
    let args = [path.as_ptr().cast_mut(), ptr::null_mut()];
    let mut pid = 0;
    let (time, code) = timed(|| {
        // SAFETY: the strings and arrays outlive the call; no actions, no attributes.
        Ok(unsafe {
            libc::posix_spawn(
                &mut pid,
                path.as_ptr(),
                ptr::null(),
                ptr::null(),
                args.as_ptr(),
                environ,
            )
        })
    })?;
    if code != 0 {
        return Err(io::Error::from_raw_os_error(code));
    }
    // SAFETY: our own child; no status is asked for.
    unsafe { libc::waitpid(pid, ptr::null_mut(), 0) };
    Ok(time)
}

unsafe extern "C" {
    static environ: *const *mut libc::c_char;
}

fn ours() -> io::Result<Duration> {
    let (time, mut child) = timed(|| Ok(Command::new(PROGRAM).spawn()?))?;
    child.wait()?;
    Ok(time)
}

fn std_stdin() -> io::Result<Duration> {
    let (time, (mut child, _ours)) = timed(|| {
        let (ours, theirs) = UnixStream::pair()?;
        let child = std::process::Command::new(PROGRAM).stdin(OwnedFd::from(theirs)).spawn()?;
        Ok((child, ours))
    })?;
    child.wait()?;
    Ok(time)
}

#[allow(clippy::disallowed_methods, reason = "what it costs is what is measured")]
fn std_pre_exec() -> io::Result<Duration> {
    let (time, (mut child, _ours)) = timed(|| {
        let (ours, theirs) = UnixStream::pair()?;
        let source = theirs.as_raw_fd();
        let mut command = std::process::Command::new(PROGRAM);
        // SAFETY: one async-signal-safe call.
        unsafe {
            command.pre_exec(move || match libc::dup2(source, 3) {
                -1 => Err(io::Error::last_os_error()),
                _ => Ok(()),
            });
        }
        Ok((command.spawn()?, ours))
    })?;
    child.wait()?;
    Ok(time)
}

fn their_command_fds() -> io::Result<Duration> {
    let (time, (mut child, _ours)) = timed(|| {
        let (ours, theirs) = UnixStream::pair()?;
        let mut command = std::process::Command::new(PROGRAM);
        command
            .fd_mappings(vec![FdMapping { parent_fd: theirs.into(), child_fd: 3 }])
            .map_err(io::Error::other)?;
        Ok((command.spawn()?, ours))
    })?;
    child.wait()?;
    Ok(time)
}

/// From the call that starts to the first byte that comes back.
fn first_bytes(work: &str, zygote: &Zygote) -> io::Result<()> {
    let forked = || {
        let (time, mut worker) = timed(|| {
            let mut worker = zygote.fork()?;
            worker.stream().read_exact(&mut [0])?;
            Ok(worker)
        })?;
        worker.wait()?;
        Ok(time)
    };
    let spawned = || {
        let (time, mut child) = timed(|| {
            let mut child = Command::new("/proc/self/exe").arg("--worker").spawn()?;
            child.stream().read_exact(&mut [0])?;
            Ok(child)
        })?;
        child.wait()?;
        Ok(time)
    };
    let mut ways: Vec<Way<'_>> = vec![
        ("a zygote's worker", Box::new(forked)),
        ("a program by streampipe::Command", Box::new(spawned)),
    ];
    rounds(work, ROUNDS, &mut ways)
}

/// From `SIGKILL` to the return of the read that waits.
fn deaths() -> io::Result<()> {
    let mut ways: Vec<Way<'_>> = vec![
        ("std, socket as stdin, bare read", Box::new(death_bare)),
        ("streampipe", Box::new(|| death("exec sleep 60"))),
        (
            "streampipe, a grandchild holds the end",
            Box::new(|| death("sleep 60 & echo $! >&3; exec sleep 60")),
        ),
    ];
    rounds("SIGKILL to the return of a blocked read", ROUNDS, &mut ways)
}

fn death_bare() -> io::Result<Duration> {
    let (mut ours, theirs) = UnixStream::pair()?;
    let mut child =
        std::process::Command::new("sleep").arg("60").stdin(OwnedFd::from(theirs)).spawn()?;
    let time = killed(child.id(), || ours.read(&mut [0]));
    child.wait()?;
    time
}

fn death(script: &str) -> io::Result<Duration> {
    let mut child =
        Command::new("sh").args(["-c", script]).stdout(streampipe::Stdio::null()).spawn()?;
    let mut grandchild = None;
    if script.contains("echo") {
        let mut line = String::new();
        BufReader::new(child.stream()).read_line(&mut line)?;
        grandchild = line.trim().parse::<i32>().ok();
    }
    let id = child.id();
    let stream = child.stream();
    let time = killed(id, || stream.read(&mut [0]));
    child.wait()?;
    if let Some(id) = grandchild {
        // SAFETY: a number; the grandchild sleeps for a minute, so it is still the one.
        unsafe { libc::kill(id, libc::SIGKILL) };
    }
    time
}

/// Kills once the read has gone to sleep; returns how long it then took to wake.
fn killed(id: u32, read: impl FnOnce() -> io::Result<usize>) -> io::Result<Duration> {
    // SAFETY: takes nothing.
    let own = unsafe { libc::gettid() };
    let killer = std::thread::spawn(move || {
        while !std::fs::read_to_string(format!("/proc/self/task/{own}/stat"))
            .is_ok_and(|stat| stat.rsplit(')').next().is_some_and(|rest| rest.starts_with(" S")))
        {
            std::thread::yield_now();
        }
        let start = Instant::now();
        // SAFETY: our own child, which was not waited for.
        unsafe { libc::kill(i32::try_from(id).unwrap_or(0), libc::SIGKILL) };
        start
    });
    let _ = read();
    let woken = Instant::now();
    Ok(woken - killer.join().expect("it does not panic"))
}
