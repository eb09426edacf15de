use streampipe_sys::spawn;

/// A resource that can be [limited](super::Command::rlimit), as `setrlimit(2)` knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Resource {
    /// Bytes of address space (`RLIMIT_AS`).
    AddressSpace,
    /// Bytes of a core dump (`RLIMIT_CORE`).
    Core,
    /// Seconds of processor time (`RLIMIT_CPU`): `SIGXCPU` at the soft limit, `SIGKILL` at the hard one.
    Cpu,
    /// Bytes of initialized data and heap (`RLIMIT_DATA`).
    Data,
    /// Bytes of a file that is written (`RLIMIT_FSIZE`).
    FileSize,
    /// Bytes locked in memory (`RLIMIT_MEMLOCK`).
    LockedMemory,
    /// The number that no descriptor may reach (`RLIMIT_NOFILE`).
    OpenFiles,
    /// Processes and threads of the user (`RLIMIT_NPROC`); root is not held by it.
    Processes,
    /// Bytes of the main thread's stack (`RLIMIT_STACK`).
    Stack,
}

impl Resource {
    pub(super) fn as_sys(self) -> spawn::Resource {
        match self {
            Self::AddressSpace => spawn::Resource::As,
            Self::Core => spawn::Resource::Core,
            Self::Cpu => spawn::Resource::Cpu,
            Self::Data => spawn::Resource::Data,
            Self::FileSize => spawn::Resource::Fsize,
            Self::LockedMemory => spawn::Resource::Memlock,
            Self::OpenFiles => spawn::Resource::Nofile,
            Self::Processes => spawn::Resource::Nproc,
            Self::Stack => spawn::Resource::Stack,
        }
    }
}
