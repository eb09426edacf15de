/// What carries the bytes of a stream pipe.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Engine {
    /// The kernel's socket.
    #[default]
    Socket,
    /// Shared memory: a ring for each direction. The socket carries descriptors and doorbells, and tells of death.
    ///
    /// What is different is in `PLATFORM.md` of the repository.
    ///
    /// The descriptor of an end is its lifeline alone, and no byte goes through it. Who is given just that gets nothing to
    /// read: by `Command::stdin(end)` of std, by [`inherit(&end, 5)`](crate::Command::inherit), by
    /// `send_fds(b"x", &[end.as_fd()])`. A program gets an end of a ring by [`Command::engine`](crate::Command::engine).
    ///
    /// # Polling
    ///
    /// For handles that do not wait ([`set_nonblocking`](crate::Stream::set_nonblocking)):
    ///
    /// - Poll only after a call said `WouldBlock`: for reading, also to write; to send descriptors, for writing, too.
    /// - Then try again whatever said `WouldBlock`: one doorbell is for both directions.
    /// - Try that again also after a receive that brought descriptors, which may have heard the doorbell.
    /// - One thread polls an end for each direction, and none blocks in a read of it beside that.
    /// - `shutdown(Read)` in another thread ends no poll; where it ends a blocked read, the descriptor stays readable.
    Ring,
}
