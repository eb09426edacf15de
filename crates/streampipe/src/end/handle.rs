//! What the three types have in common, written once.

/// The methods of a handle: settings, shutdown, descriptors' policy.
macro_rules! handle_methods {
    ($name:ident) => {
        /// Makes both ends of a pair: connected, unnamed, close-on-exec from birth.
        ///
        /// Each end closes when it is dropped. Neither is ever descriptor 0, 1 or 2.
        ///
        /// # Errors
        ///
        /// `EMFILE` or `ENFILE` if there are no two free descriptors; `ENOBUFS`, `ENOMEM`.
        ///
        /// # Examples
        ///
        /// ```
        #[doc = concat!("let (a, b) = streampipe::", stringify!($name), "::pair()?;")]
        /// # drop((a, b));
        /// # Ok::<(), std::io::Error>(())
        /// ```
        #[doc(alias = "socketpair")]
        pub fn pair() -> io::Result<(Self, Self)> {
            let (a, b) = End::pair(KIND)?;
            Ok((Self { end: a }, Self { end: b }))
        }

        #[allow(dead_code, reason = "not of all types without the features")]
        pub(crate) fn as_end(&self) -> &End {
            &self.end
        }

        /// Makes another handle of the same end.
        ///
        /// The peer sees the end as closed only when all handles are. Settings are copied, and
        /// separate from then on.
        ///
        /// # Errors
        ///
        /// `EMFILE` if there is no free descriptor.
        ///
        /// # Examples
        ///
        /// ```
        #[doc = concat!("let (a, _b) = streampipe::", stringify!($name), "::pair()?;")]
        /// let again = a.try_clone()?;
        /// # drop(again);
        /// # Ok::<(), std::io::Error>(())
        /// ```
        #[doc(alias = "dup")]
        pub fn try_clone(&self) -> io::Result<Self> {
            Ok(Self { end: self.end.try_clone()? })
        }

        /// Makes this handle's operations return `WouldBlock` where they would wait.
        ///
        /// A flag of this handle alone, passed with each call (`MSG_DONTWAIT`). `O_NONBLOCK` on
        /// the open file description, which a child shares, is neither set nor needed; if
        /// somebody else sets it, a blocking handle waits all the same.
        ///
        /// # Errors
        ///
        /// None at present.
        ///
        /// # Examples
        ///
        /// ```
        #[doc = concat!("let (a, _b) = streampipe::", stringify!($name), "::pair()?;")]
        /// a.set_nonblocking(true)?;
        /// # Ok::<(), std::io::Error>(())
        /// ```
        #[doc(alias = "O_NONBLOCK")]
        #[doc(alias = "MSG_DONTWAIT")]
        pub fn set_nonblocking(&self, nonblocking: bool) -> io::Result<()> {
            self.end.modes.set_nonblocking(nonblocking);
            Ok(())
        }

        /// Bounds each receiving call of this handle: one deadline for the whole call.
        ///
        /// A call that reaches it returns `TimedOut`. `None` waits for ever. Kept in the handle:
        /// the socket's `SO_RCVTIMEO`, which starts anew with every byte, is not used.
        ///
        /// # Errors
        ///
        /// `InvalidInput` for a duration of zero.
        ///
        /// # Examples
        ///
        /// ```
        /// use std::time::Duration;
        ///
        #[doc = concat!("let (a, _b) = streampipe::", stringify!($name), "::pair()?;")]
        /// a.set_read_timeout(Some(Duration::from_millis(100)))?;
        /// # Ok::<(), std::io::Error>(())
        /// ```
        #[doc(alias = "SO_RCVTIMEO")]
        pub fn set_read_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
            self.end.modes.read_timeout().set(timeout)
        }

        /// Bounds each sending call of this handle: one deadline for the whole call.
        ///
        /// As [`set_read_timeout`](Self::set_read_timeout).
        ///
        /// # Errors
        ///
        /// `InvalidInput` for a duration of zero.
        ///
        /// # Examples
        ///
        /// ```
        /// use std::time::Duration;
        ///
        #[doc = concat!("let (a, _b) = streampipe::", stringify!($name), "::pair()?;")]
        /// a.set_write_timeout(Some(Duration::from_millis(100)))?;
        /// # Ok::<(), std::io::Error>(())
        /// ```
        #[doc(alias = "SO_SNDTIMEO")]
        pub fn set_write_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
            self.end.modes.write_timeout().set(timeout)
        }

        /// Returns the bound of receiving calls, `None` if there is none.
        ///
        /// # Errors
        ///
        /// None at present.
        pub fn read_timeout(&self) -> io::Result<Option<Duration>> {
            Ok(self.end.modes.read_timeout().get())
        }

        /// Returns the bound of sending calls, `None` if there is none.
        ///
        /// # Errors
        ///
        /// None at present.
        pub fn write_timeout(&self) -> io::Result<Option<Duration>> {
            Ok(self.end.modes.write_timeout().get())
        }

        /// Asks for a send buffer of so many bytes; returns the size the kernel gave.
        ///
        /// Linux doubles the number for its bookkeeping and clamps it silently, to no less than
        /// 4,608 bytes and no more than twice `net.core.wmem_max`. The size counts the kernel's
        /// memory, 768 bytes and more for each small packet, so it is no count of your bytes.
        /// Of an end of a ring this has no effect, and returns the capacity.
        ///
        /// # Errors
        ///
        /// Those of `setsockopt(2)`.
        ///
        /// # Examples
        ///
        /// ```
        #[doc = concat!("let (a, _b) = streampipe::", stringify!($name), "::pair()?;")]
        /// let given = a.set_send_buffer_size(32 * 1024)?;
        /// assert_eq!(given, a.send_buffer_size()?);
        /// # Ok::<(), std::io::Error>(())
        /// ```
        #[doc(alias = "SO_SNDBUF")]
        pub fn set_send_buffer_size(&self, bytes: usize) -> io::Result<usize> {
            self.end.set_send_buffer_size(bytes)
        }

        /// Returns the send buffer's size in bytes of kernel memory.
        ///
        /// # Errors
        ///
        /// Those of `getsockopt(2)`.
        pub fn send_buffer_size(&self) -> io::Result<usize> {
            self.end.send_buffer_size()
        }

        /// Asks for a receive buffer of so many bytes; returns the size the kernel gave.
        ///
        /// Linux keeps the number and ignores it for pairs: what is in flight counts against the
        /// sender's buffer. Of an end of a ring this has no effect, and returns the capacity.
        ///
        /// # Errors
        ///
        /// Those of `setsockopt(2)`.
        #[doc(alias = "SO_RCVBUF")]
        pub fn set_recv_buffer_size(&self, bytes: usize) -> io::Result<usize> {
            self.end.set_recv_buffer_size(bytes)
        }

        /// Returns the receive buffer's size in bytes of kernel memory.
        ///
        /// # Errors
        ///
        /// Those of `getsockopt(2)`.
        pub fn recv_buffer_size(&self) -> io::Result<usize> {
            self.end.recv_buffer_size()
        }

        /// Refuses descriptors from the peer, from now on.
        ///
        /// The kernel keeps them out (`SO_PASSRIGHTS`): the peer's `send_fds` fails with `EPERM`
        /// and sends nothing. Before Linux 6.16, and for those that were queued already, the
        /// descriptors are closed as they arrive and the receive reports
        /// [`FdError::Refused`](crate::FdError::Refused), with its bytes kept for the next one.
        /// Those that an earlier error left waiting are closed now, and their bytes can be read.
        /// It concerns the socket, hence all its handles, and whoever holds one can undo it.
        ///
        /// # Errors
        ///
        /// Those of `setsockopt(2)`; none on a pair.
        ///
        /// # Examples
        ///
        /// ```
        /// use std::os::fd::AsFd;
        ///
        #[doc = concat!("let (a, b) = streampipe::", stringify!($name), "::pair()?;")]
        /// b.refuse_fds()?;
        /// # if std::fs::read_to_string("/proc/sys/kernel/osrelease")?.starts_with("6.18") {
        /// let error = a.send_fds(b"x", &[std::io::stderr().as_fd()]).unwrap_err();
        /// assert_eq!(error.kind(), std::io::ErrorKind::PermissionDenied);
        /// # }
        /// # Ok::<(), std::io::Error>(())
        /// ```
        #[doc(alias = "SO_PASSRIGHTS")]
        pub fn refuse_fds(&self) -> io::Result<()> {
            self.end.refuse_fds()
        }

        /// Lets an end of this pair be sent over the pair itself, which is refused otherwise.
        ///
        /// Such an end can keep itself alive in its own queue until the kernel's collector finds
        /// it. The refusal knows the handles of this library, not copies made with `dup` elsewhere.
        ///
        /// # Examples
        ///
        /// ```
        /// use std::os::fd::AsFd;
        ///
        #[doc = concat!("let (a, b) = streampipe::", stringify!($name), "::pair()?;")]
        /// assert!(a.send_fds(b"me", &[a.as_fd()]).is_err());
        /// a.allow_self();
        /// a.send_fds(b"me", &[a.as_fd()])?;
        /// # drop(b);
        /// # Ok::<(), std::io::Error>(())
        /// ```
        pub fn allow_self(&self) {
            self.end.allow_self();
        }
    };
}

/// `shutdown`, and the conversions and traits of a handle.
macro_rules! handle_traits {
    ($name:ident, $constant:literal) => {
        /// Of an end of a ring it is the lifeline alone: no byte goes through it. How to poll it:
        /// [`Engine::Ring`](crate::Engine::Ring).
        impl AsFd for $name {
            fn as_fd(&self) -> BorrowedFd<'_> {
                self.end.as_fd()
            }
        }

        impl AsRawFd for $name {
            fn as_raw_fd(&self) -> RawFd {
                self.end.as_fd().as_raw_fd()
            }
        }

        /// Gives up the type, not the descriptor. Settings of the handle are forgotten, and what
        /// an earlier error left for the next receive is closed and lost: receive it first. Of an end of a
        /// ring it is the lifeline alone, not the bytes: keep the end, or give it to a program by
        /// [`Command::engine`](crate::Command::engine).
        impl From<$name> for OwnedFd {
            fn from(end: $name) -> Self {
                end.end.into_fd()
            }
        }

        /// For `std::process::Command`: the child gets this end as 0, 1 or 2. Of an end of a ring it gets the
        /// lifeline alone, not the bytes: use [`Command::engine`](crate::Command::engine).
        impl From<$name> for Stdio {
            fn from(end: $name) -> Self {
                Stdio::from(OwnedFd::from(end))
            }
        }

        #[doc = concat!("Takes over an `AF_LOCAL` socket of type `", $constant, "` that does not listen.")]
        ///
        /// On failure the descriptor is in the error. If `O_NONBLOCK` is set, the handle is
        /// non-blocking. The descriptor keeps its number, and close-on-exec as it is.
        impl TryFrom<OwnedFd> for $name {
            type Error = ConvertError;

            fn try_from(fd: OwnedFd) -> Result<Self, ConvertError> {
                Ok(Self { end: End::adopt(fd, KIND, $constant)? })
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).field("fd", &self.as_raw_fd()).finish()
            }
        }
    };
}

pub(super) use {handle_methods, handle_traits};
