use std::{error, fmt, io};

/// An end, a channel or a child that the runtime could not register; gives it back.
///
/// It works as before, without a runtime. The runtime registers each with `epoll(7)`, and that fails
/// if the process has no free descriptor, or if this one is registered already.
///
/// # Examples
///
/// ```
/// # tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
/// use std::io::Write;
///
/// let (ours, _theirs) = streampipe::pair()?;
/// match streampipe::tokio::Stream::try_from(ours) {
///     Ok(_for_tasks) => {}
///     Err(error) => {
///         let (mut ours, _why) = error.into_parts();
///         ours.write_all(b"without a runtime, then")?;
///     }
/// }
/// # Ok::<(), std::io::Error>(())
/// # })?;
/// # Ok::<(), std::io::Error>(())
/// ```
pub struct RegisterError<T> {
    inner: T,
    cause: io::Error,
}

impl<T> RegisterError<T> {
    pub(super) fn new(inner: T, cause: io::Error) -> Self {
        Self { inner, cause }
    }

    pub(super) fn map<U>(self, into: impl FnOnce(T) -> U) -> RegisterError<U> {
        RegisterError { inner: into(self.inner), cause: self.cause }
    }

    /// Returns what the system said.
    #[must_use]
    pub fn cause(&self) -> &io::Error {
        &self.cause
    }

    /// Takes back what was to be registered.
    #[must_use]
    pub fn into_inner(self) -> T {
        self.inner
    }

    /// Takes both.
    #[must_use]
    pub fn into_parts(self) -> (T, io::Error) {
        (self.inner, self.cause)
    }
}

impl<T> fmt::Display for RegisterError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the runtime could not register it: {}", self.cause)
    }
}

/// Without what it gives back, which need not be `Debug`.
impl<T> fmt::Debug for RegisterError<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RegisterError").field("cause", &self.cause).finish_non_exhaustive()
    }
}

impl<T> error::Error for RegisterError<T> {}

/// Returns what the system said, and drops what could not be registered: an end closes.
impl<T> From<RegisterError<T>> for io::Error {
    fn from(error: RegisterError<T>) -> Self {
        error.cause
    }
}
