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
    Ring,
}
