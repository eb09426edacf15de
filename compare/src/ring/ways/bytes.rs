//! Streams of bytes: one call for each block, and as many as it takes to receive it.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::os::unix::net::UnixStream;

use streampipe::{Builder, Engine, Stream, Wait};

use super::{End, Opener};
use crate::ring::block::Block;

/// The size of the larger buffers of sockets.
const LARGE: usize = 4 << 20;

struct Bytes<R, W> {
    reader: R,
    writer: W,
    buffer: Vec<u8>,
}

impl<R: Read, W: Write> End for Bytes<R, W> {
    fn send(&mut self, block: Block) -> io::Result<()> {
        let bytes = &mut self.buffer[..block.size()];
        block.fill(bytes, 0);
        self.writer.write_all(bytes)
    }

    fn receive(&mut self, block: Block) -> io::Result<()> {
        let bytes = &mut self.buffer[..block.size()];
        self.reader.read_exact(bytes)?;
        block.check(bytes, 0)
    }
}

fn opener<R: Read + 'static, W: Write + 'static>(reader: R, writer: W, most: usize) -> Opener {
    Box::new(move || Ok(Box::new(Bytes { reader, writer, buffer: vec![0; most] })))
}

/// Both ends of a socket pair of std's.
///
/// # Errors
///
/// The kernel's.
pub fn unix_pair(buffer: Option<usize>) -> io::Result<(UnixStream, UnixStream)> {
    let (a, b) = UnixStream::pair()?;
    if let Some(size) = buffer {
        for end in [&a, &b] {
            set_buffer(end.as_raw_fd(), size)?;
        }
    }
    Ok((a, b))
}

/// Both ends of ours.
///
/// # Errors
///
/// The kernel's.
pub fn streampipe_pair(engine: Engine, wait: Wait) -> io::Result<(Stream, Stream)> {
    Builder::new().engine(engine).wait(wait).pair()
}

pub(super) fn socketpair(most: usize) -> io::Result<(Opener, Opener)> {
    of_sockets(unix_pair(None)?, most)
}

pub(super) fn large_socketpair(most: usize) -> io::Result<(Opener, Opener)> {
    of_sockets(unix_pair(Some(LARGE))?, most)
}

fn of_sockets((a, b): (UnixStream, UnixStream), most: usize) -> io::Result<(Opener, Opener)> {
    let (a2, b2) = (a.try_clone()?, b.try_clone()?);
    Ok((opener(a2, a, most), opener(b2, b, most)))
}

pub(super) fn tcp(most: usize) -> io::Result<(Opener, Opener)> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    let a = TcpStream::connect(listener.local_addr()?)?;
    let (b, _) = listener.accept()?;
    for end in [&a, &b] {
        end.set_nodelay(true)?;
    }
    let (a2, b2) = (a.try_clone()?, b.try_clone()?);
    Ok((opener(a2, a, most), opener(b2, b, most)))
}

pub(super) fn pipe(most: usize) -> io::Result<(Opener, Opener)> {
    of_pipes(None, most)
}

pub(super) fn large_pipe(most: usize) -> io::Result<(Opener, Opener)> {
    of_pipes(Some(1 << 20), most)
}

fn of_pipes(size: Option<libc::c_int>, most: usize) -> io::Result<(Opener, Opener)> {
    let (there, back) = (one_pipe(size)?, one_pipe(size)?);
    Ok((opener(back.0, there.1, most), opener(there.0, back.1, most)))
}

fn one_pipe(size: Option<libc::c_int>) -> io::Result<(std::fs::File, std::fs::File)> {
    let mut ends = [0; 2];
    // SAFETY: the pointer is to two numbers.
    if unsafe { libc::pipe2(ends.as_mut_ptr(), libc::O_CLOEXEC) } < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the kernel has just given them to us and to nobody else.
    let [reader, writer] = ends.map(|end| unsafe { OwnedFd::from_raw_fd(end) });
    if let Some(size) = size {
        // SAFETY: numbers.
        if unsafe { libc::fcntl(writer.as_raw_fd(), libc::F_SETPIPE_SZ, size) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    Ok((reader.into(), writer.into()))
}

pub(super) fn ours(most: usize) -> io::Result<(Opener, Opener)> {
    of_ours(Engine::Socket, Wait::Adaptive, most)
}

pub(super) fn ring(most: usize) -> io::Result<(Opener, Opener)> {
    of_ours(Engine::Ring, Wait::Adaptive, most)
}

pub(super) fn ring_spinning(most: usize) -> io::Result<(Opener, Opener)> {
    of_ours(Engine::Ring, Wait::Spin, most)
}

pub(super) fn ring_sleeping(most: usize) -> io::Result<(Opener, Opener)> {
    of_ours(Engine::Ring, Wait::Block, most)
}

fn of_ours(engine: Engine, wait: Wait, most: usize) -> io::Result<(Opener, Opener)> {
    let (a, b) = streampipe_pair(engine, wait)?;
    Ok((ours_opener(a, most), ours_opener(b, most)))
}

fn ours_opener(stream: Stream, most: usize) -> Opener {
    Box::new(move || Ok(Box::new(Ours { stream, buffer: vec![0; most] })))
}

struct Ours {
    stream: Stream,
    buffer: Vec<u8>,
}

impl End for Ours {
    fn send(&mut self, block: Block) -> io::Result<()> {
        let bytes = &mut self.buffer[..block.size()];
        block.fill(bytes, 0);
        self.stream.write_all(bytes)
    }

    fn receive(&mut self, block: Block) -> io::Result<()> {
        let bytes = &mut self.buffer[..block.size()];
        self.stream.read_exact(bytes)?;
        block.check(bytes, 0)
    }
}

fn set_buffer(socket: libc::c_int, size: usize) -> io::Result<()> {
    let size = size as libc::c_int;
    let (level, length) = (libc::SOL_SOCKET, size_of::<libc::c_int>() as libc::socklen_t);
    for name in [libc::SO_SNDBUFFORCE, libc::SO_SNDBUF] {
        // SAFETY: the pointer is to a number of the length said.
        let code =
            unsafe { libc::setsockopt(socket, level, name, (&raw const size).cast(), length) };
        if code == 0 {
            return Ok(());
        }
    }
    Err(io::Error::last_os_error())
}
