use std::io::{self, IoSlice, IoSliceMut, Read, Write};
use std::net::Shutdown;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::{error, fmt};

use streampipe_sys::process::own_id;

use super::Stream;

pub(super) fn split(stream: Stream) -> (ReadHalf, WriteHalf) {
    let stream = Arc::new(stream);
    let reader = ReadHalf { stream: Arc::clone(&stream) };
    (reader, WriteHalf { stream, owner: own_id(), ends_on_drop: true })
}

/// The reading direction of a [`Stream`], from [`Stream::into_split`].
///
/// The descriptor closes when both halves are dropped. Settings made before the split are kept; later
/// ones go through the whole end: `half.as_ref().set_read_timeout(...)`.
///
/// # Examples
///
/// See [`Stream::into_split`].
#[derive(Debug)]
pub struct ReadHalf {
    stream: Arc<Stream>,
}

impl ReadHalf {
    /// Receives bytes and descriptors, as [`Stream::recv_fds`].
    ///
    /// # Errors
    ///
    /// Those of [`Stream::recv_fds`].
    pub fn recv_fds(&self, buffer: &mut [u8]) -> io::Result<(usize, Vec<OwnedFd>)> {
        self.stream.recv_fds(buffer)
    }

    /// Puts the two halves of one stream together again.
    ///
    /// # Errors
    ///
    /// A [`ReuniteError`] with both halves in it if they are of two streams.
    ///
    /// # Examples
    ///
    /// ```
    /// let (a, b) = streampipe::pair()?;
    /// let (reader, writer) = a.into_split();
    /// let (_, stranger) = b.into_split();
    /// let error = reader.reunite(stranger).unwrap_err();
    /// let a = error.0.reunite(writer).expect("halves of one stream");
    /// # drop(a);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn reunite(self, writer: WriteHalf) -> Result<Stream, ReuniteError> {
        reunite(self, writer)
    }
}

impl AsRef<Stream> for ReadHalf {
    /// The whole end, for its settings.
    fn as_ref(&self) -> &Stream {
        &self.stream
    }
}

impl AsFd for ReadHalf {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

/// The writing direction of a [`Stream`], from [`Stream::into_split`].
///
/// Dropping it ends the direction, as [`Shutdown::Write`] does, even while the other half lives. In
/// a process that inherited it by `fork` the drop only closes: the parent's direction goes on.
///
/// # Examples
///
/// See [`Stream::into_split`].
#[derive(Debug)]
pub struct WriteHalf {
    stream: Arc<Stream>,
    /// The process that split the stream: a shutdown elsewhere would be a shutdown here (C2).
    owner: u32,
    ends_on_drop: bool,
}

impl WriteHalf {
    /// Sends bytes and descriptors, as [`Stream::send_fds`].
    ///
    /// # Errors
    ///
    /// Those of [`Stream::send_fds`].
    pub fn send_fds(&self, bytes: &[u8], fds: &[BorrowedFd<'_>]) -> io::Result<usize> {
        self.stream.send_fds(bytes, fds)
    }

    /// Puts the two halves of one stream together again, as [`ReadHalf::reunite`].
    ///
    /// # Errors
    ///
    /// A [`ReuniteError`] with both halves in it if they are of two streams.
    pub fn reunite(self, reader: ReadHalf) -> Result<Stream, ReuniteError> {
        reunite(reader, self)
    }

    /// Drops this half without ending its direction.
    pub fn forget(mut self) {
        self.ends_on_drop = false;
    }
}

impl AsRef<Stream> for WriteHalf {
    /// The whole end, for its settings.
    fn as_ref(&self) -> &Stream {
        &self.stream
    }
}

impl AsFd for WriteHalf {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

impl Drop for WriteHalf {
    fn drop(&mut self) {
        if self.ends_on_drop && own_id() == self.owner {
            // Nobody is left to be told, and on a pair it cannot fail.
            let _ = self.stream.shutdown(Shutdown::Write);
        }
    }
}

/// Two halves that are not of one stream, given back.
#[derive(Debug)]
pub struct ReuniteError(pub ReadHalf, pub WriteHalf);

impl fmt::Display for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the two halves are of two different streams")
    }
}

impl error::Error for ReuniteError {}

fn reunite(reader: ReadHalf, mut writer: WriteHalf) -> Result<Stream, ReuniteError> {
    if !Arc::ptr_eq(&reader.stream, &writer.stream) {
        return Err(ReuniteError(reader, writer));
    }
    let owner = writer.owner;
    writer.ends_on_drop = false;
    drop(writer);
    // Both halves exist once each and one is gone, so this is the only reference.
    Arc::try_unwrap(reader.stream).map_err(|stream| {
        let reader = ReadHalf { stream: Arc::clone(&stream) };
        ReuniteError(reader, WriteHalf { stream, owner, ends_on_drop: true })
    })
}

impl Read for ReadHalf {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        (&*self.stream).read(buffer)
    }

    fn read_vectored(&mut self, buffers: &mut [IoSliceMut<'_>]) -> io::Result<usize> {
        (&*self.stream).read_vectored(buffers)
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        (&*self.stream).read_exact(buffer)
    }

    fn read_to_end(&mut self, all: &mut Vec<u8>) -> io::Result<usize> {
        (&*self.stream).read_to_end(all)
    }

    fn read_to_string(&mut self, all: &mut String) -> io::Result<usize> {
        (&*self.stream).read_to_string(all)
    }
}

impl Write for WriteHalf {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        (&*self.stream).write(bytes)
    }

    fn write_vectored(&mut self, bytes: &[IoSlice<'_>]) -> io::Result<usize> {
        (&*self.stream).write_vectored(bytes)
    }

    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        (&*self.stream).write_all(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        (&*self.stream).flush()
    }
}
