//! Who is at the other end: a first word whose sender the kernel attests.

use std::io::{self, IoSliceMut};

use streampipe_sys::message::Sender;
use streampipe_sys::open::numbers;
use streampipe_sys::sockopt;

use super::core::End;
use super::held::Held;
use super::{NoHello, Peer, Stream};

/// The first word: text, so that a shell can say it.
const HELLO: &[u8; 8] = b"hello 1\n";

impl Stream {
    /// Has the kernel say, with what is sent to this end from now on, who sent it.
    ///
    /// To be called before the peer can send: what is queued already says nothing.
    /// [`Command::expect_hello`](crate::Command::expect_hello) does so before the child starts. Until
    /// [`recv_hello`](Self::recv_hello) switches it off, each receive is slower.
    ///
    /// The options `SO_PEERCRED` and `SO_PEERPIDFD`, which sound like it, name the process that made the
    /// pair, ourselves. Nor is this for packets: a `SeqPacket` that asks for credentials gets an abstract
    /// name from the kernel with its first send, and is a private channel no more (`GOTCHAS.md`).
    ///
    /// # Errors
    ///
    /// Those of `setsockopt(2)`; none on a pair.
    ///
    /// # Examples
    ///
    /// ```
    /// let (ours, theirs) = streampipe::pair()?;
    /// ours.attest()?;
    /// theirs.send_hello()?;
    /// assert_eq!(ours.recv_hello()?.pid(), Some(std::process::id()));
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "SO_PASSCRED")]
    #[doc(alias = "SO_PASSPIDFD")]
    pub fn attest(&self) -> io::Result<()> {
        sockopt::attest_credentials(self.end.as_fd(), true)?;
        match sockopt::attest_pidfd(self.end.as_fd(), true) {
            // Linux before 6.5.
            Err(error) if error.raw_os_error() == Some(numbers::ENOPROTOOPT) => Ok(()),
            done => done,
        }
    }

    /// Says hello: eight bytes, `hello 1\n`, to a peer that waits in [`recv_hello`](Self::recv_hello).
    ///
    /// # Errors
    ///
    /// As `write`.
    pub fn send_hello(&self) -> io::Result<()> {
        io::Write::write_all(&mut &*self, HELLO)
    }

    /// Receives the peer's hello, and says who sent it, as the kernel attests.
    ///
    /// The identity is that of the process which called `send`, whoever made the pair, and the pidfd
    /// goes on meaning that process. A privileged process can claim to be another
    /// (`CAP_SYS_ADMIN`, `CAP_SETUID`): of a root child it proves nothing. Waits within the read timeout.
    ///
    /// # Errors
    ///
    /// [`NoHello`] inside: what came was something else, which can still be read, or was not attested.
    ///
    /// # Examples
    ///
    /// ```
    /// let mut child = streampipe::Command::new("sh")
    ///     .args(["-c", "echo 'hello 1' >&3"])
    ///     .expect_hello()
    ///     .spawn()?;
    /// let peer = child.stream().recv_hello()?;
    /// assert_eq!(peer.pid(), Some(child.id()));
    /// # child.wait()?;
    /// # Ok::<(), std::io::Error>(())
    /// ```
    #[doc(alias = "SCM_CREDENTIALS")]
    #[doc(alias = "SCM_PIDFD")]
    pub fn recv_hello(&self) -> io::Result<Peer> {
        let mut word = [0; HELLO.len()];
        let (filled, sender) = self.end.recv_attested(&mut word)?;
        let peer = match sender.and_then(|sender| Peer::attested(*sender)) {
            _ if filled == 0 => Err(NoHello::Ended),
            _ if word[..filled] != HELLO[..] => Err(NoHello::SomethingElse),
            None => Err(NoHello::NotAttested),
            Some(peer) => Ok(peer),
        };
        let peer = peer.map_err(|reason| {
            self.end.put_back(&word[..filled]);
            io::Error::from(reason)
        })?;
        sockopt::attest_credentials(self.end.as_fd(), false)?;
        // Before Linux 6.5 there is nothing to switch off.
        let _ = sockopt::attest_pidfd(self.end.as_fd(), false);
        Ok(peer)
    }
}

impl End {
    /// Fills the buffer with bytes of one sender, unless they end or become another's before.
    fn recv_attested(&self, buffer: &mut [u8]) -> io::Result<(usize, Option<Box<Sender>>)> {
        let waiting = self.modes.reading();
        let (mut filled, mut sender) = (0, None::<Box<Sender>>);
        while filled < buffer.len() {
            if self.side().held().is_some() {
                // An error of an earlier read left it; who sent it is not known any more.
                break;
            }
            let buffers = &mut [IoSliceMut::new(&mut buffer[filled..])];
            let received = match self.receive(buffers, waiting) {
                Ok(received) if received.len == 0 => break,
                Ok(received) => received,
                Err(error) => {
                    self.put_back(&buffer[..filled]);
                    return Err(error);
                }
            };
            if !received.fds.is_empty() || received.fds_lost {
                let error = self.keep_for_later(buffers, received);
                self.put_back(&buffer[..filled]);
                return Err(error);
            }
            let is_same = match (&sender, &received.sender) {
                (Some(before), Some(now)) => before.credentials == now.credentials,
                (None, None) => true,
                _ => filled == 0,
            };
            if !is_same {
                let more = Held::gather(buffers, received.len, Vec::new());
                self.side().hold_in_front(more);
                break;
            }
            filled += received.len;
            sender = received.sender;
        }
        Ok((filled, sender))
    }
}
