use std::io;
use std::os::fd::OwnedFd;
use std::process::ExitStatus;

use ::tokio::io::Interest;
use ::tokio::io::unix::AsyncFd;

use super::readiness::register;
use super::{RegisterError, Stream};
use crate::process::Stops;

/// A [`Child`](crate::Child) for tasks.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// let child = streampipe::Command::new("sh").args(["-c", "exit 3"]).spawn()?;
/// let mut child = streampipe::tokio::Child::try_from(child)?;
/// assert_eq!(child.wait().await?.code(), Some(3));
/// # Ok::<(), std::io::Error>(())
/// # })?;
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Debug)]
pub struct Child {
    child: crate::Child,
    ended: AsyncFd<OwnedFd>,
}

impl Child {
    /// Returns the process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Takes our end of the pipe out of the child, as [`Child::take_stream`](crate::Child::take_stream); `None` if it
    /// was taken.
    ///
    /// # Errors
    ///
    /// [`RegisterError`], which has the end, if the runtime cannot register it.
    pub fn take_stream(&mut self) -> Result<Option<Stream>, RegisterError<crate::Stream>> {
        self.child.take_stream().map(Stream::try_from).transpose()
    }

    /// Takes our end of the pipe out of the child as a channel, as [`Child::take_channel`](crate::Child::take_channel);
    /// `None` if it was taken. Drop it before you [`wait`](Self::wait).
    ///
    /// # Errors
    ///
    /// [`RegisterError`], which has the channel, if the runtime cannot register it.
    #[cfg(feature = "serde")]
    #[expect(clippy::type_complexity, reason = "each part is one that the caller takes apart")]
    pub fn take_channel<A, B>(
        &mut self,
    ) -> Result<Option<super::Channel<A, B>>, RegisterError<crate::Channel<A, B>>> {
        self.child.take_channel().map(super::Channel::try_from).transpose()
    }

    /// Waits until the child has ended, as [`Child::wait`](crate::Child::wait): our direction ends first, if our end
    /// was not taken.
    ///
    /// # Errors
    ///
    /// Those of [`Child::wait`](crate::Child::wait).
    ///
    /// # Cancel safety
    ///
    /// Cancel safe: it can be called again.
    pub async fn wait(&mut self) -> io::Result<ExitStatus> {
        self.child.end_our_direction();
        loop {
            let mut guard = self.ended.readable().await?;
            match self.child.try_wait()? {
                Some(status) => return Ok(status),
                // A debugger has it still: it will be told again.
                None => {
                    guard.clear_ready();
                    ::tokio::time::sleep(std::time::Duration::from_millis(10)).await;
                }
            }
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
        }
    }

    /// Returns the child itself, for what takes no waiting.
    pub fn get_mut(&mut self) -> &mut crate::Child {
        &mut self.child
    }

    /// Gives the child back.
    #[must_use]
    pub fn into_inner(self) -> crate::Child {
        self.child
    }
}

/// Must be done within a runtime. If the runtime cannot register it, the error gives it back.
impl TryFrom<crate::Child> for Child {
    type Error = RegisterError<crate::Child>;

    fn try_from(child: crate::Child) -> Result<Self, Self::Error> {
        let pidfd = child.pidfd().try_clone_to_owned();
        let ended = pidfd.and_then(|pidfd| Ok(register(pidfd, Interest::READABLE)?));
        match ended {
            Ok(ended) => Ok(Self { child, ended }),
            Err(error) => Err(RegisterError::new(child, error)),
        }
    }
}
