/// How much a channel's owner is willing to take from the peer.
///
/// A message beyond it is not received: it is an error with its size in it ([`TooLarge`](crate::TooLarge)), what
/// comes of it is dropped, none of its descriptors enters this process, and the channel goes on with the next one.
/// Memory is only taken for what has come, whatever the peer says will; up to twice that while it comes.
///
/// # Memory that is used again
///
/// A channel keeps buffers of messages, so that steady use of it allocates nothing: for each direction 512 KiB in buffers of up
/// to 256 KiB, and larger ones only while messages need them. A larger one is kept if two of the last 64 messages needed one like
/// it, until none of the last 64 did; and all channels of the process together keep at most 64 MiB of those.
///
/// # Examples
///
/// ```
/// use streampipe::{Budget, RawChannel, RecvError};
///
/// let (ours, theirs) = RawChannel::pair()?;
/// ours.set_budget(Budget::default().message_bytes(1024).message_fds(0));
/// theirs.send(&[7; 1025], &[])?;
/// theirs.send(b"short", &[])?;
/// assert!(matches!(ours.recv(), Err(RecvError::TooLarge(_))));
/// assert_eq!(ours.recv()?.bytes, b"short");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Budget {
    /// How many bytes the payload of a message may have.
    pub message_bytes: u64,
    /// How many descriptors a message may have; never more than this process may have open.
    pub message_fds: u32,
    /// How many payload bytes may wait in the channel.
    pub queued_bytes: u64,
    /// How many descriptors may wait in the channel.
    pub queued_fds: u32,
    /// How many messages may wait in the channel.
    pub queued_messages: u32,
}

impl Budget {
    /// For a peer that is not trusted: messages of 1 MiB and 16 descriptors; 64 messages, 4 MiB and 64 descriptors
    /// waiting.
    #[must_use]
    pub const fn small() -> Self {
        Self {
            message_bytes: 1 << 20,
            message_fds: 16,
            queued_bytes: 4 << 20,
            queued_fds: 64,
            queued_messages: 64,
        }
    }

    /// Sets how many bytes the payload of a message may have; 128 MiB by default, and never more than `isize::MAX`, which
    /// is as much as memory can be asked for at once.
    #[must_use]
    pub const fn message_bytes(self, message_bytes: u64) -> Self {
        Self { message_bytes, ..self }
    }

    /// Sets how many descriptors a message may have; 4,096 by default.
    #[must_use]
    pub const fn message_fds(self, message_fds: u32) -> Self {
        Self { message_fds, ..self }
    }

    /// Sets how many payload bytes may wait in the channel: messages that came while somebody waited for an answer,
    /// or for a request; 256 MiB by default.
    #[must_use]
    pub const fn queued_bytes(self, queued_bytes: u64) -> Self {
        Self { queued_bytes, ..self }
    }

    /// Sets how many descriptors may wait in the channel; 8,192 by default.
    #[must_use]
    pub const fn queued_fds(self, queued_fds: u32) -> Self {
        Self { queued_fds, ..self }
    }

    /// Sets how many messages may wait in the channel; 1,024 by default.
    #[must_use]
    pub const fn queued_messages(self, queued_messages: u32) -> Self {
        Self { queued_messages, ..self }
    }
}

impl Default for Budget {
    fn default() -> Self {
        Self {
            message_bytes: 128 << 20,
            message_fds: 4096,
            queued_bytes: 256 << 20,
            queued_fds: 8192,
            queued_messages: 1024,
        }
    }
}
