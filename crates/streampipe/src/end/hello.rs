//! Who is at the other end: a first word whose sender the kernel attests.

use std::io::{self, IoSliceMut};

use streampipe_sys::message::Sender;
use streampipe_sys::sockopt;

use super::core::End;
use super::held::Held;
use super::modes::Waiting;
use super::{NoHello, Peer, Stream};
use crate::ring::Hello;

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
            // Linux before 6.5, or a filter.
            Err(error) if sockopt::is_unknown_option(&error) => Ok(()),
            done => done,
        }
    }

    /// Says hello: eight bytes, `hello 1\n`, to a peer that waits in [`recv_hello`](Self::recv_hello). (Over a ring, a
    /// note on its lifeline.)
    ///
    /// # Errors
    ///
    /// As `write`.
    pub fn send_hello(&self) -> io::Result<()> {
        if let Some((ring, line)) = self.end.ring() {
            return ring.send_hello(&line, self.end.modes.writing());
        }
        io::Write::write_all(&mut &*self, HELLO)
    }

    /// Receives the peer's hello, and says who sent it, as the kernel attests.
    ///
    /// The identity is that of the process which called `send`, whoever made the pair, and the pidfd
    /// goes on meaning that process. A privileged process can claim to be another
    /// (`CAP_SYS_ADMIN`, `CAP_SETUID`): of a root child it proves nothing, and a process that has a user
    /// and pid namespace of its own can claim to be another one of that namespace. The user and group
    /// are the real ones, not the effective ones. Waits within the read timeout.
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
        if let Some((ring, line)) = self.end.ring() {
            let hello = ring.recv_hello(&line, self.end.modes.reading())?;
            return self.greet(hello);
        }
        let mut word = [0; HELLO.len()];
        let heard = self.end.recv_attested(&mut word)?;
        let said = &word[..heard.len];
        if said != HELLO {
            let nothing_came = heard.len == 0 && heard.ended;
            let reason = if nothing_came { NoHello::Ended } else { NoHello::SomethingElse };
            return Err(self.end.refuse(said, heard.sender, reason));
        }
        let peer = match heard.sender.map(|sender| Peer::attested(*sender)) {
            Some(Ok(peer)) => peer,
            Some(Err(sender)) => {
                return Err(self.end.refuse(said, Some(sender.into()), NoHello::NotAttested));
            }
            None => return Err(self.end.refuse(said, None, NoHello::NotAttested)),
        };
        self.stop_attesting()?;
        Ok(peer)
    }

    /// A hello of a ring came as a note of its own: nothing has to be put back.
    fn greet(&self, hello: Hello) -> io::Result<Peer> {
        let sender = match hello {
            Hello::Said(sender) => sender,
            Hello::SomethingElse => return Err(NoHello::SomethingElse.into()),
            Hello::Ended => return Err(NoHello::Ended.into()),
        };
        let peer = sender.and_then(|sender| Peer::attested(*sender).ok());
        let peer = peer.ok_or(NoHello::NotAttested)?;
        self.stop_attesting()?;
        Ok(peer)
    }

    fn stop_attesting(&self) -> io::Result<()> {
        sockopt::attest_credentials(self.end.as_fd(), false)?;
        // Before Linux 6.5 there is nothing to switch off.
        let _ = sockopt::attest_pidfd(self.end.as_fd(), false);
        Ok(())
    }
}

/// What [`End::recv_attested`] heard.
struct Heard {
    /// How many bytes.
    len: usize,
    /// Who sent all of them.
    sender: Option<Box<Sender>>,
    /// Whether nothing comes after them.
    ended: bool,
}

impl End {
    /// Fills the buffer with bytes of one sender, unless they end or become another's before.
    ///
    /// On an error, what came before is put back with its sender, for the next call.
    fn recv_attested(&self, buffer: &mut [u8]) -> io::Result<Heard> {
        let waiting = self.modes.reading();
        let mut heard = Heard { len: 0, sender: None, ended: false };
        while heard.len < buffer.len() {
            let more = match self.next_attested(&mut buffer[heard.len..], waiting) {
                Ok(more) => more,
                Err(error) => {
                    self.put_back_attested(&buffer[..heard.len], heard.sender);
                    return Err(error);
                }
            };
            if more.len == 0 {
                heard.ended = more.ended;
                break;
            }
            let (start, end) = (heard.len, heard.len + more.len);
            if start > 0 && !is_same(heard.sender.as_deref(), more.sender.as_deref()) {
                self.put_back_attested(&buffer[start..end], more.sender);
                break;
            }
            heard = Heard { len: end, ..more };
        }
        Ok(heard)
    }

    /// Takes what an earlier call put back, or else receives.
    fn next_attested(&self, buffer: &mut [u8], waiting: Waiting) -> io::Result<Heard> {
        if let Some(mut held) = self.side().held() {
            // Of what a plain read left nobody knows any more who sent it: it is for a plain read.
            let mut heard = Heard { len: 0, sender: None, ended: false };
            if let Some(front) = held.front_mut() {
                if front.sender.is_some() && front.len() <= buffer.len() {
                    heard.len = front.scatter(&mut [IoSliceMut::new(buffer)]);
                    heard.sender = front.sender.take();
                }
            }
            self.side().settle(&mut held);
            return Ok(heard);
        }
        let buffers = &mut [IoSliceMut::new(buffer)];
        let received = self.receive(buffers, waiting)?;
        if !received.fds.is_empty() || received.fds_lost {
            return Err(self.keep_for_later(buffers, received));
        }
        Ok(Heard { len: received.len, sender: received.sender, ended: received.len == 0 })
    }

    fn refuse(&self, said: &[u8], sender: Option<Box<Sender>>, reason: NoHello) -> io::Error {
        self.put_back_attested(said, sender);
        reason.into()
    }

    fn put_back_attested(&self, bytes: &[u8], sender: Option<Box<Sender>>) {
        let mut held = Held::new(bytes.to_vec(), Vec::new());
        held.sender = sender;
        self.side().hold_in_front(held);
    }
}

/// Whether two pieces are of one process. Of process 0, which is any outside of our pid namespace,
/// nobody can say.
fn is_same(one: Option<&Sender>, other: Option<&Sender>) -> bool {
    let credentials = |sender: Option<&Sender>| sender.and_then(|sender| sender.credentials);
    credentials(one) == credentials(other) && credentials(one).is_some_and(|it| it.pid != 0)
}
