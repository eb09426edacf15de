use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use streampipe_ring::Capacity;
use streampipe_sys::region::{Owner, Region};

use super::{Engine, Ring, Wait};
use crate::Stream;

/// What each direction holds unless something else is asked for.
const CAPACITY: usize = 256 << 10;

/// Describes a pair: which engine, how large, how it waits.
///
/// # Examples
///
/// ```
/// use std::io::{Read, Write};
/// use streampipe::{Builder, Engine};
///
/// let (mut ours, mut theirs) = Builder::new().engine(Engine::Ring).capacity(64 << 10).pair()?;
/// ours.write_all(b"ping")?;
/// let mut heard = [0; 4];
/// theirs.read_exact(&mut heard)?;
/// assert_eq!(&heard, b"ping");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use = "it describes a pair; `pair` makes it"]
pub struct Builder {
    engine: Engine,
    capacity: Option<usize>,
    wait: Wait,
}

impl Builder {
    /// A pair of the socket engine, as [`pair`](crate::pair) makes it.
    pub fn new() -> Self {
        Self::default()
    }

    /// What carries the bytes.
    pub fn engine(mut self, engine: Engine) -> Self {
        self.engine = engine;
        self
    }

    /// How many bytes each direction of a ring holds; 256 KiB unless set.
    ///
    /// Rounded up to a power of two, at least 4,096. Memory is used when it is touched, twice this in all, and 8 KiB.
    /// Of no meaning to the socket engine, whose room the kernel counts in its own way
    /// ([`set_send_buffer_size`](Stream::set_send_buffer_size)).
    pub fn capacity(mut self, bytes: usize) -> Self {
        self.capacity = Some(bytes);
        self
    }

    /// How both ends of a ring wait; each handle can be told otherwise ([`Stream::set_wait`]).
    pub fn wait(mut self, wait: Wait) -> Self {
        self.wait = wait;
        self
    }

    /// Makes the pair.
    ///
    /// Each end of a ring is one descriptor, its lifeline, as with the socket engine; both share one mapping. The memory
    /// has no name, and goes when the last process that has it goes.
    ///
    /// # Errors
    ///
    /// Those of [`pair`](crate::pair); of `memfd_create(2)` and `mmap(2)`, `ENOMEM` among them. `InvalidInput` for a
    /// capacity of 0 or of more than 1 GiB.
    ///
    /// # Platform
    ///
    /// The ring: Linux 5.4 or later; in a container, `memfd_create` must not be forbidden.
    pub fn pair(self) -> io::Result<(Stream, Stream)> {
        match self.engine {
            Engine::Socket => Stream::pair(),
            Engine::Ring => {
                let (region, memory) = self.region()?;
                // Before there is a lifeline: so two free descriptors are enough.
                drop(memory);
                self.over(region)
            }
        }
    }

    pub(crate) fn asks_for(self) -> Engine {
        self.engine
    }

    /// Makes a pair of the ring, and the memory file, for a process that cannot inherit the mapping.
    pub(crate) fn ring(self) -> io::Result<(Stream, Stream, OwnedFd)> {
        let (region, memory) = self.region()?;
        let (first, second) = self.over(region)?;
        Ok((first, second, memory))
    }

    fn region(self) -> io::Result<(Region, OwnedFd)> {
        let wanted = self.capacity.unwrap_or(CAPACITY);
        let capacity = Capacity::holding(wanted).ok_or_else(|| impossible(wanted))?;
        Region::create(capacity.bytes() as usize)
    }

    fn over(self, region: Region) -> io::Result<(Stream, Stream)> {
        let region = Arc::new(region);
        let (mut first, mut second) = Stream::pair()?;
        for (stream, owner) in [(&mut first, Owner::First), (&mut second, Owner::Second)] {
            stream.end.run_over(Ring::new(Arc::clone(&region), owner)?);
            stream.set_wait(self.wait);
        }
        Ok((first, second))
    }
}

fn impossible(capacity: usize) -> io::Error {
    let text = format!("a capacity of {capacity} bytes; a ring holds 1 byte to 1 GiB");
    io::Error::new(io::ErrorKind::InvalidInput, text)
}
