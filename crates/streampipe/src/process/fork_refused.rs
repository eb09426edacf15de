use std::{error, fmt, io};

/// Why [`fork`](crate::fork) refused; inside its [`io::Error`].
///
/// # Examples
///
/// ```
/// use streampipe::ForkRefused;
///
/// let (stop, stopped) = std::sync::mpsc::channel::<()>();
/// let thread = std::thread::spawn(move || stopped.recv());
/// let error = streampipe::fork().unwrap_err();
/// assert!(error.get_ref().unwrap().is::<ForkRefused>());
/// drop(stop);
/// # let _ = thread.join();
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ForkRefused {
    /// How many other threads the process has, if `/proc` told.
    pub other_threads: Option<usize>,
}

impl fmt::Display for ForkRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.other_threads {
            Some(1) => f.write_str("1 other thread runs")?,
            Some(count) => write!(f, "{count} other threads run")?,
            None => f.write_str("other threads run")?,
        }
        f.write_str(
            " in this process: a forked child would have none of them, but the locks they hold; \
             fork before starting threads, or spawn a program instead",
        )
    }
}

impl error::Error for ForkRefused {}

impl From<ForkRefused> for io::Error {
    fn from(refused: ForkRefused) -> Self {
        Self::new(io::ErrorKind::Unsupported, refused)
    }
}
