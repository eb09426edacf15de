use std::fmt;
use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::process::Stdio;
use std::time::Duration;

use super::core::End;
use super::handle::{handle_methods, handle_traits};
use super::held::Held;
use super::modes::Waiting;
use super::patience::Look;
use super::{ConvertError, ReadHalf, WriteHalf};
use crate::call::Type;
use crate::message::{Carries, Core};
use crate::ring::{Engine, Readable, Reserved, Unusable, Wait, receive_ring};

const KIND: Type = Type::STREAM;

/// An end of a stream pipe: reads what was written to the other end, and the other way round.
///
/// Traps first:
///
/// - If both sides write more than the buffers hold (about 200 KiB) before either reads, both wait
///   for ever. Read and write at once: [`copy_both`](crate::copy_both), [`into_split`], two threads
///   with `&Stream`, or a [timeout](Self::set_write_timeout).
/// - The end of the stream comes when the *last* copy of the other end is closed, forgotten copies
///   in other processes included; [`shutdown`](Self::shutdown) ends a direction in spite of them.
/// - Descriptors travel with bytes. A `read` that meets them fails with
///   [`FdError::Waiting`](crate::FdError::Waiting) and loses nothing: use
///   [`recv_fds`](Self::recv_fds) where the peer may send them, or [`refuse_fds`](Self::refuse_fds).
///   Two threads that receive from one end, one with `read` and one with `recv_fds`, do not wake
///   each other for what waits: use the same call in both.
///
/// `EINTR` never reaches the caller, and writing to a closed pipe is `BrokenPipe`, never `SIGPIPE`.
/// If the peer closes with our bytes unread, we first read what it sent, then get
/// `ConnectionReset` once, then the end.
///
/// [`into_split`]: Self::into_split
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
///
/// let (mut ours, mut theirs) = streampipe::pair()?;
/// ours.write_all(b"ping")?;
/// ours.shutdown(std::net::Shutdown::Write)?;
///
/// let mut heard = String::new();
/// theirs.read_to_string(&mut heard)?;
/// assert_eq!(heard, "ping");
/// theirs.write_all(b"pong")?; // The other direction is still open.
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "SOCK_STREAM")]
#[doc(alias = "UnixStream")]
pub struct Stream {
    pub(crate) end: End,
}

impl Stream {
    handle_methods!(Stream);

    /// What a channel over this stream is made of.
    pub(crate) fn into_core(self) -> Core {
        Core::new(self.end, Carries::Bytes)
    }

    /// The second end of a ring, of which this is the lifeline.
    pub(crate) fn into_ring(mut self) -> Result<Self, Unusable> {
        let ring = receive_ring(self.end.as_fd())?;
        self.end.run_over(ring);
        Ok(self)
    }

    /// An end that is two pipes.
    pub(crate) fn from_pipes(reader: OwnedFd, writer: OwnedFd) -> Self {
        Self { end: End::from_pipes(reader, writer) }
    }

    /// Ends one or both directions, for all copies of this end.
    ///
    /// After `Write`, the peer reads what is queued, then the end; our writes fail with
    /// `BrokenPipe`. After `Read`, the peer's writes fail with `BrokenPipe`; what is queued can
    /// still be read. The descriptor stays open. A call of this process that is blocked in a direction that was ended
    /// returns.
    ///
    /// # Errors
    ///
    /// None on a pair; doing it twice is no error. If this end is two pipes
    /// ([`Command::on_stdio`](crate::Command::on_stdio)), `Read` may fail with `EMFILE` or `ENFILE`: reading has ended here
    /// then, and the peer can still write.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::Read;
    /// use std::net::Shutdown;
    ///
    /// let (a, mut b) = streampipe::pair()?;
    /// a.shutdown(Shutdown::Write)?;
    /// assert_eq!(b.read(&mut [0; 8])?, 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        self.end.shutdown(how)
    }

    /// Sends bytes, with descriptors on the first of them; returns how many bytes were taken.
    ///
    /// Exactly once or not at all: after `Ok`, the kernel holds its own copies of all the
    /// descriptors, and the caller may close theirs at once; after an error, nothing was sent. A
    /// blocking call goes on until all bytes are taken; only a peer that closes, a timeout or a
    /// non-blocking handle makes the number smaller. Send the rest with `write_all`.
    ///
    /// The receiver gets the descriptors with the first of these bytes, perhaps behind bytes that
    /// were sent before and never together with a later call's descriptors.
    ///
    /// # Errors
    ///
    /// An [`FdError`](crate::FdError) inside: [`TooMany`](crate::FdError::TooMany),
    /// [`NoBytes`](crate::FdError::NoBytes), [`OverItself`](crate::FdError::OverItself). `EPERM` if
    /// the peer refuses descriptors; `ETOOMANYREFS` if more are in flight than this user may have;
    /// `EBADF`, `EINVAL` for one that cannot be passed; else as `write`.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::fs::File;
    /// use std::io::Read;
    /// use std::os::fd::AsFd;
    ///
    /// let (ours, theirs) = streampipe::pair()?;
    /// let file = File::open("/etc/passwd")?;
    /// ours.send_fds(b"take this", &[file.as_fd()])?;
    ///
    /// let mut buffer = [0; 64];
    /// let (n, mut fds) = theirs.recv_fds(&mut buffer)?;
    /// assert_eq!(&buffer[..n], b"take this");
    /// let mut file = File::from(fds.remove(0));
    /// assert_ne!(file.read(&mut buffer)?, 0);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "SCM_RIGHTS")]
    #[doc(alias = "sendmsg")]
    pub fn send_fds(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.end.send_fds(bytes, fds, self.end.modes.writing())
    }

    /// Receives bytes and the descriptors that came with them; the caller owns these.
    ///
    /// `(0, [])` is the end. The descriptors are close-on-exec and never 0, 1 or 2. One call never
    /// returns the descriptors of two sends; it may return bytes that were sent before in front of
    /// the bytes that the descriptors came with. Over a ring it is the other way round: bytes that were written behind
    /// those can come with them, up to the next descriptors.
    ///
    /// # Errors
    ///
    /// [`FdError::Lost`](crate::FdError::Lost) if this process had no room for all of them: those
    /// that arrived are closed, the bytes wait for the next receive, the stream goes on.
    /// `InvalidInput` for an empty buffer; else as `read`.
    ///
    /// # Examples
    ///
    /// See [`send_fds`](Self::send_fds).
    #[doc(alias = "SCM_RIGHTS")]
    #[doc(alias = "recvmsg")]
    pub fn recv_fds(&self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        self.end.recv_fds(buffer, self.end.modes.reading())
    }

    /// What carries the bytes of this end.
    #[must_use]
    pub fn engine(&self) -> Engine {
        if self.end.is_ring() { Engine::Ring } else { Engine::Socket }
    }

    /// How this handle waits, if its engine is the ring; else it is of no meaning. [`Wait::Adaptive`] unless set.
    pub fn set_wait(&self, wait: Wait) {
        self.end.set_wait(wait);
    }

    /// How this handle waits.
    #[must_use]
    pub fn wait_policy(&self) -> Wait {
        self.end.wait()
    }

    /// Waits for room for `len` bytes in the ring, to be written in place and published at once.
    ///
    /// Waits within the write timeout. While the room is held, other writes of this process on this end wait, within theirs:
    /// they fail with `ResourceBusy` if they do not wait, and with `Deadlock` if it was this very thread that reserved.
    ///
    /// # Errors
    ///
    /// As `write`; `InvalidInput` for more than the capacity; `Unsupported` if the engine is not the ring.
    ///
    /// # Examples
    ///
    /// See [`Reserved`].
    pub fn reserve(&self, len: usize) -> io::Result<Reserved<'_>> {
        let (ring, line) = self.end.ring().ok_or_else(not_a_ring)?;
        ring.reserve(line, len, self.end.modes.writing())
    }

    /// Waits for something to read in the ring, or its end, to be copied out where it lies and given back at once.
    ///
    /// Waits within the read timeout. While it is held, other reads of this process on this end wait, within theirs: they
    /// fail with `ResourceBusy` if they do not wait, and with `Deadlock` if it was this very thread that holds it.
    ///
    /// # Errors
    ///
    /// As `read`, with descriptors as there; `Unsupported` if the engine is not the ring; `InvalidInput` while bytes of a
    /// `read_exact` that failed wait for a `read`.
    ///
    /// # Examples
    ///
    /// See [`Readable`].
    pub fn readable(&self) -> io::Result<Readable<'_>> {
        let (ring, line) = self.end.ring().ok_or_else(not_a_ring)?;
        if self.end.holds_bytes() {
            return Err(io::Error::new(io::ErrorKind::InvalidInput, PUT_BACK));
        }
        ring.readable(line, self.end.modes.reading())
    }

    /// Splits the end into a reading and a writing half that can move to two threads.
    ///
    /// # Examples
    ///
    /// ```
    /// use std::io::{Read, Write};
    ///
    /// let (ours, mut theirs) = streampipe::pair()?;
    /// let (mut reader, mut writer) = ours.into_split();
    /// writer.write_all(b"x")?;
    /// drop(writer); // Ends this direction only.
    /// assert_eq!(theirs.read(&mut [0; 8])?, 1);
    /// assert_eq!(theirs.read(&mut [0; 8])?, 0);
    /// theirs.write_all(b"y")?;
    /// assert_eq!(reader.read(&mut [0; 8])?, 1);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[must_use]
    pub fn into_split(self) -> (ReadHalf, WriteHalf) {
        super::halves::split(self)
    }
}

handle_traits!(Stream, "SOCK_STREAM");

/// Gives up what this library adds; the same caveats as for `OwnedFd`. Of an end of a ring that is the lifeline alone, not the
/// bytes.
impl From<Stream> for UnixStream {
    fn from(stream: Stream) -> Self {
        Self::from(OwnedFd::from(stream))
    }
}

/// As from an `OwnedFd`; a timeout set there with std's methods is forgotten here.
impl TryFrom<UnixStream> for Stream {
    type Error = ConvertError;

    fn try_from(stream: UnixStream) -> Result<Self, ConvertError> {
        Self::try_from(OwnedFd::from(stream))
    }
}

const PUT_BACK: &str = "bytes that a failed read_exact put back come first: read them";

fn not_a_ring() -> io::Error {
    io::Error::new(io::ErrorKind::Unsupported, "only the ring engine has bytes in place")
}

impl Read for &Stream {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.end.read(buffer, self.end.modes.reading())
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        self.end.read_vectored(buffers, self.end.modes.reading())
    }

    /// Fills the buffer within one read timeout, however many pieces the bytes come in.
    ///
    /// After an error nothing is consumed: what had come waits for the next read. However short the timeout, each call
    /// keeps what has come since the one before.
    #[inline]
    fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        // What an earlier call held is copied once, when there is enough: a try must not cost more the more is held.
        let held = self.end.take_held_bytes(buffer.len());
        let before = held.as_ref().map_or(0, Held::len);
        let mut filled = before;
        let mut rest = Rest::new(&self.end);
        while filled < buffer.len() {
            let error = match rest.read(&mut buffer[filled..]) {
                Ok(0) => io::ErrorKind::UnexpectedEof.into(),
                Ok(n) => {
                    filled += n;
                    continue;
                }
                Err(error) => error,
            };
            let mut held = held.unwrap_or_else(Held::nothing);
            held.push(&buffer[before..filled], buffer.len() - before);
            self.end.hold_again(held);
            return Err(error);
        }
        if let Some(mut held) = held {
            held.scatter(&mut [IoSliceMut::new(buffer)]);
            // There may be more than was wanted.
            self.end.hold_again(held);
        }
        Ok(())
    }

    /// Reads to the end within one read timeout.
    fn read_to_end(&mut self, all: &mut Vec<u8>) -> io::Result<usize> {
        Rest::new(&self.end).read_to_end(all)
    }

    /// Reads to the end within one read timeout.
    ///
    /// After an error, `all` has the characters that had come, and half of one waits for the next read. If what comes is
    /// no text (`InvalidData`), all of it waits for the next read.
    fn read_to_string(&mut self, all: &mut String) -> io::Result<usize> {
        // Not a step: else half a character would be all that a short timeout lets it take.
        let held = self.end.take_held_bytes(usize::MAX);
        let mut bytes = held.map_or_else(Vec::new, Held::into_bytes);
        let before = bytes.len();
        let read = Rest::new(&self.end).read_to_end(&mut bytes).map(|more| before + more);
        let text = match String::from_utf8(bytes) {
            Ok(text) => text,
            Err(error) => {
                let (wrong, mut bytes) = (error.utf8_error(), error.into_bytes());
                // Of what had come when time was up, the last character may be cut.
                let is_cut = read.is_err() && wrong.error_len().is_none();
                let text_len = if is_cut { wrong.valid_up_to() } else { 0 };
                self.end.put_back(bytes.split_off(text_len));
                if !is_cut {
                    return Err(io::Error::new(io::ErrorKind::InvalidData, wrong));
                }
                String::from_utf8(bytes).unwrap_or_default()
            }
        };
        if all.is_empty() {
            *all = text
        } else {
            all.push_str(&text)
        }
        read
    }
}

impl Write for &Stream {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.end.write(bytes, self.end.modes.writing())
    }

    fn write_vectored(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        self.end.write_vectored(bytes, self.end.modes.writing())
    }

    /// Writes all bytes within one write timeout.
    #[inline]
    fn write_all(&mut self, mut bytes: &[u8]) -> io::Result<()> {
        let waiting = self.end.modes.writing();
        while !bytes.is_empty() {
            match self.end.write(bytes, waiting)? {
                0 => return Err(io::ErrorKind::WriteZero.into()),
                n => bytes = &bytes[n..],
            }
            if !bytes.is_empty() && waiting.is_over() {
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
        Ok(())
    }

    /// Nothing is buffered here.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// After how many steps of one reading call it looks whether a known peer still lives.
const LOOK_EVERY: u32 = 32;

/// The steps of one reading call, with one deadline for all of them.
struct Rest<'end> {
    end: &'end End,
    waiting: Waiting,
    steps: u32,
    /// Once the process at the other end is gone: how much of what it left is still to be read.
    left: Option<u64>,
}

impl<'end> Rest<'end> {
    fn new(end: &'end End) -> Self {
        Self { end, waiting: end.modes.reading(), steps: 0, left: None }
    }

    /// How much the next step may read: all, unless somebody else goes on writing for a process that is
    /// gone, and would keep this call for ever.
    fn allowance(&mut self, wanted: usize) -> io::Result<usize> {
        if self.left.is_none() {
            // A step that waits looks anyhow; steps that never wait look now and then.
            let look = if self.steps % LOOK_EVERY == 0 { Look::Anew } else { Look::AtWhatIsKnown };
            self.left = self.end.left_behind(look)?;
        }
        match self.left {
            None => Ok(wanted),
            // Also where the end has come, which the read will say.
            Some(0) => Ok(wanted.min(1)),
            Some(left) => Ok(wanted.min(usize::try_from(left).unwrap_or(wanted))),
        }
    }
}

impl Read for Rest<'_> {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        // The first step takes what is there, however short the timeout.
        if self.steps > 0 && self.waiting.is_over() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.steps = self.steps.wrapping_add(1);
        if !self.end.is_watching() {
            return self.end.read(buffer, self.waiting);
        }
        let most = self.allowance(buffer.len())?;
        let read = self.end.read(&mut buffer[..most], self.waiting)?;
        match &mut self.left {
            Some(0) if read > 0 => {
                self.end.put_back(buffer[..read].to_vec());
                Err(self.end.gone())
            }
            Some(left) => {
                *left = left.saturating_sub(read as u64);
                Ok(read)
            }
            None => Ok(read),
        }
    }
}

impl Read for Stream {
    #[inline]
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self).read(buffer)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self).read_vectored(buffers)
    }

    #[inline]
    fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        (&*self).read_exact(buffer)
    }

    fn read_to_end(&mut self, all: &mut Vec<u8>) -> io::Result<usize> {
        (&*self).read_to_end(all)
    }

    fn read_to_string(&mut self, all: &mut String) -> io::Result<usize> {
        (&*self).read_to_string(all)
    }
}

impl Write for Stream {
    #[inline]
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self).write(bytes)
    }

    fn write_vectored(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self).write_vectored(bytes)
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        (&*self).write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self).flush()
    }
}

/// Makes a stream pipe: two connected [`Stream`]s. The same as [`Stream::pair`].
///
/// # Errors
///
/// `EMFILE` or `ENFILE` if there are no two free descriptors; `ENOBUFS`, `ENOMEM`.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
///
/// let (mut ours, mut theirs) = streampipe::pair()?;
/// ours.write_all(b"ping")?;
/// let mut heard = [0; 4];
/// theirs.read_exact(&mut heard)?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[doc(alias = "socketpair")]
pub fn pair() -> io::Result<(Stream, Stream)> {
    Stream::pair()
}
