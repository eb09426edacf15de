use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::{fmt, io};

use super::found::{Found, Length};
use super::opened::Opened;
use crate::{Family, FdKind, Seals, Type, WrongFd};

/// What a descriptor must be.
///
/// Starts with a kind, each further word leaves less. A word that does not fit the kind leaves
/// nothing: no directory has seals.
///
/// Kind and access mode stay as they were checked. A length does only with [`Seals::SHRINK`], and a
/// socket can begin to listen.
///
/// # Examples
///
/// ```
/// use std::os::fd::OwnedFd;
/// use streampipe::{FdRule, Seals, Type};
///
/// let rule = FdRule::one_of([
///     FdRule::file().read_only(),
///     FdRule::memfd().sealed(Seals::SHRINK | Seals::WRITE).at_least(4096),
///     FdRule::socket(Type::STREAM),
/// ]);
/// let (end, _peer) = streampipe::pair()?;
/// let end = rule.check(end.into())?;
///
/// let error = FdRule::pidfd().check(end).unwrap_err();
/// assert_eq!(error.to_string(), "expected a pidfd, found a SOCK_STREAM socket of AF_LOCAL");
/// let end: OwnedFd = error.into_fd();
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct FdRule {
    what: What,
    opened: Opened,
    seals: Seals,
    /// 0 if any length will do.
    bytes: u64,
    family: Option<Family>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum What {
    Any,
    File,
    Directory,
    Pipe,
    Socket(Type),
    Listener(Type),
    Memfd,
    Pidfd,
    /// Nothing if there are none.
    OneOf(Vec<FdRule>),
}

impl FdRule {
    /// Any descriptor.
    #[must_use]
    pub const fn any() -> Self {
        Self::of(What::Any)
    }

    /// A regular file; see [`FdKind::File`] for what that promises.
    #[must_use]
    pub const fn file() -> Self {
        Self::of(What::File)
    }

    /// An open directory.
    ///
    /// Names are to be looked up in it with `openat2(2)` and `RESOLVE_BENEATH`, if the peer is not trusted:
    /// it may be any directory, and have links in it.
    #[must_use]
    pub const fn directory() -> Self {
        Self::of(What::Directory)
    }

    /// A pipe or a FIFO: the reading end with [`FdRule::read_only`], the writing end with
    /// [`FdRule::write_only`].
    #[must_use]
    pub const fn pipe() -> Self {
        Self::of(What::Pipe)
    }

    /// A socket of this type that does not listen, of any family unless [`FdRule::family`] says which.
    #[must_use]
    pub const fn socket(kind: Type) -> Self {
        Self::of(What::Socket(kind))
    }

    /// A socket of this type that listens, of any family unless [`FdRule::family`] says which.
    #[must_use]
    pub const fn listener(kind: Type) -> Self {
        Self::of(What::Listener(kind))
    }

    /// A memory file of ordinary pages. What nobody is to change needs [`FdRule::sealed`].
    #[must_use]
    pub const fn memfd() -> Self {
        Self::of(What::Memfd)
    }

    /// A pidfd, of whichever process.
    #[must_use]
    pub const fn pidfd() -> Self {
        Self::of(What::Pidfd)
    }

    /// What keeps one of these rules; nothing, if there are none.
    #[must_use]
    pub fn one_of(rules: impl IntoIterator<Item = Self>) -> Self {
        Self::of(What::OneOf(rules.into_iter().collect()))
    }

    /// Opened for reading alone (`O_RDONLY`).
    ///
    /// This keeps its holder from writing through it, not from writing: through
    /// `/proc/self/fd` it can be opened again for writing, if the file's permissions allow it, and those
    /// of a memory file do. What must stay as it is has to be a memory file with [`Seals::WRITE`].
    /// Neither does it keep its sender from writing.
    #[must_use]
    pub fn read_only(self) -> Self {
        self.opened(Opened::READ_ONLY)
    }

    /// Opened for writing alone (`O_WRONLY`).
    #[must_use]
    pub fn write_only(self) -> Self {
        self.opened(Opened::WRITE_ONLY)
    }

    /// Opened for reading, perhaps for writing too.
    #[must_use]
    pub fn readable(self) -> Self {
        self.opened(Opened::READABLE)
    }

    /// Opened for writing, perhaps for reading too.
    #[must_use]
    pub fn writable(self) -> Self {
        self.opened(Opened::WRITABLE)
    }

    /// Has at least these seals.
    #[must_use]
    pub fn sealed(mut self, seals: Seals) -> Self {
        self.seals |= seals;
        self
    }

    /// Is a file at least so long. That it stays so long needs [`Seals::SHRINK`].
    #[must_use]
    pub fn at_least(mut self, bytes: u64) -> Self {
        self.bytes = self.bytes.max(bytes);
        self
    }

    /// Is a socket of this family.
    #[must_use]
    pub fn family(mut self, family: Family) -> Self {
        self.family = Some(family);
        self
    }

    /// Checks the descriptor, and gives it back.
    ///
    /// # Errors
    ///
    /// [`WrongFd`], which holds the descriptor: it is something else, or the kernel does not say what
    /// it is.
    ///
    /// # Platform
    ///
    /// As [`FdKind::of`].
    ///
    /// # Examples
    ///
    /// ```
    /// use streampipe::FdRule;
    ///
    /// let directory = std::fs::File::open("/")?;
    /// let error = FdRule::file().check(directory.into()).unwrap_err();
    /// assert_eq!(error.to_string(), "expected a regular file, found a directory");
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn check(&self, fd: OwnedFd) -> Result<OwnedFd, WrongFd> {
        match self.judge(fd.as_fd()) {
            Ok(()) => Ok(fd),
            Err(found) => Err(WrongFd::new(fd, self.clone(), found)),
        }
    }

    /// Whether the descriptor is what it must be.
    ///
    /// # Errors
    ///
    /// Those of [`FdKind::of`].
    ///
    /// # Examples
    ///
    /// ```
    /// use streampipe::FdRule;
    ///
    /// let file = std::fs::File::open("/etc/passwd")?;
    /// assert!(FdRule::file().read_only().matches(&file)?);
    /// assert!(!FdRule::file().writable().matches(&file)?);
    /// assert!(!FdRule::memfd().matches(&file)?);
    /// # Ok::<(), std::io::Error>(())
    /// ```
    pub fn matches(&self, fd: impl AsFd) -> io::Result<bool> {
        match self.judge(fd.as_fd()) {
            Ok(()) => Ok(true),
            Err(Ok(_)) => Ok(false),
            Err(Err(error)) => Err(error),
        }
    }

    const fn of(what: What) -> Self {
        Self { what, opened: Opened::ANYHOW, seals: Seals::NONE, bytes: 0, family: None }
    }

    fn opened(mut self, opened: Opened) -> Self {
        self.opened = self.opened.and(opened);
        self
    }

    /// What keeps this rule or that.
    pub(super) fn or(mut self, other: Self) -> Self {
        if self.restricts_nothing() {
            if let What::OneOf(rules) = &mut self.what {
                rules.push(other);
                return self;
            }
        }
        Self::one_of([self, other])
    }

    /// What was found instead, or why nothing was; the kernel is not asked what nobody wants to know.
    pub(super) fn judge(&self, fd: BorrowedFd<'_>) -> Result<(), io::Result<Found>> {
        if self.accepts_everything() {
            return Ok(());
        }
        let found = Found::of(fd, self.length()).map_err(Err)?;
        if self.allows(&found) { Ok(()) } else { Err(Ok(found)) }
    }

    /// Whether nothing could be wrong.
    pub(super) fn accepts_everything(&self) -> bool {
        self.restricts_nothing()
            && match &self.what {
                What::Any => true,
                What::OneOf(rules) => rules.iter().any(Self::accepts_everything),
                _ => false,
            }
    }

    fn restricts_nothing(&self) -> bool {
        let nothing = Self::of(What::Any);
        (self.opened, self.seals, self.bytes, self.family)
            == (nothing.opened, nothing.seals, nothing.bytes, nothing.family)
    }

    fn length(&self) -> Length {
        let asked_within = match &self.what {
            What::OneOf(rules) => rules.iter().any(|rule| rule.length() == Length::Asked),
            _ => false,
        };
        if self.bytes > 0 || asked_within { Length::Asked } else { Length::Ignored }
    }

    fn allows(&self, found: &Found) -> bool {
        self.allows_kind(found)
            && self.opened.allows(found.kind.access())
            && (self.seals.is_empty() || seals(found.kind).contains(self.seals))
            && (self.bytes == 0 || found.bytes.is_some_and(|bytes| bytes >= self.bytes))
            && (self.family.is_none() || family(found.kind) == self.family)
    }

    fn allows_kind(&self, found: &Found) -> bool {
        match (&self.what, found.kind) {
            (What::Any, _)
            | (What::File, FdKind::File { .. })
            | (What::Directory, FdKind::Directory)
            | (What::Pipe, FdKind::Pipe { .. })
            | (What::Memfd, FdKind::Memfd { .. })
            | (What::Pidfd, FdKind::Pidfd) => true,
            (What::Socket(wanted), FdKind::Socket { kind, .. })
            | (What::Listener(wanted), FdKind::Listener { kind, .. }) => {
                wanted.base() == kind.base()
            }
            (What::OneOf(rules), _) => rules.iter().any(|rule| rule.allows(found)),
            _ => false,
        }
    }
}

fn seals(kind: FdKind) -> Seals {
    match kind {
        FdKind::Memfd { seals, .. } | FdKind::HugePages { seals, .. } => seals,
        _ => Seals::NONE,
    }
}

fn family(kind: FdKind) -> Option<Family> {
    match kind {
        FdKind::Socket { family, .. } | FdKind::Listener { family, .. } => Some(family),
        _ => None,
    }
}

/// Writes what it must be, with an article: "a regular file open for reading alone".
impl fmt::Display for FdRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.what, self.opened)?;
        if let Some(family) = self.family {
            write!(f, " of {family}")?;
        }
        if !self.seals.is_empty() {
            write!(f, " with {}", self.seals)?;
        }
        if self.bytes > 0 {
            write!(f, " of at least {} bytes", self.bytes)?;
        }
        Ok(())
    }
}

impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any => f.write_str("any descriptor"),
            Self::File => f.write_str("a regular file"),
            Self::Directory => f.write_str("a directory"),
            Self::Pipe => f.write_str("a pipe"),
            Self::Socket(kind) => write!(f, "a {kind} socket"),
            Self::Listener(kind) => write!(f, "a listening {kind} socket"),
            Self::Memfd => f.write_str("a memfd"),
            Self::Pidfd => f.write_str("a pidfd"),
            Self::OneOf(rules) => write_choice(f, rules),
        }
    }
}

fn write_choice(f: &mut fmt::Formatter<'_>, rules: &[FdRule]) -> fmt::Result {
    if rules.is_empty() {
        return f.write_str("no descriptor");
    }
    for (index, rule) in rules.iter().enumerate() {
        let between = match rules.len() - index {
            _ if index == 0 => "",
            1 => " or ",
            _ => ", ",
        };
        write!(f, "{between}{rule}")?;
    }
    Ok(())
}
