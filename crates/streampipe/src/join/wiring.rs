use std::io;
use std::os::fd::{AsFd, OwnedFd};

use streampipe_sys::job::procfs::FileName;
use streampipe_sys::open;
use streampipe_sys::spawn::Placement;

use crate::Stream;

/// How two joined programs are connected.
///
/// # Examples
///
/// ```
/// use streampipe::join::Wiring;
///
/// assert_eq!(Wiring::default(), Wiring::Pipes);
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Wiring {
    /// A one-way pipe for each direction, as standard input and output of the two.
    ///
    /// Serves every program: closing standard output is a half-close, and `/dev/stdin` and
    /// `/dev/stdout` can be opened, which a socket refuses with `ENXIO`.
    #[default]
    Pipes,
    /// The two ends of one full-duplex stream pipe, each as both descriptor 0 and descriptor 1.
    ///
    /// A program that closes one of the two closes nothing, so two filters that wait for the end of
    /// their input deadlock; for programs that call `shutdown`, or need no half-close.
    Socket,
    /// The two ends of one stream pipe on this descriptor of each, 3 or more; standard input, output
    /// and error are left alone.
    Fd(i32),
}

/// The names of the joined ends, which this process has not kept.
#[derive(Debug)]
pub(super) struct JoinedFiles(Vec<FileName>);

impl JoinedFiles {
    pub(super) fn contains(&self, name: &FileName) -> bool {
        self.0.contains(name)
    }
}

/// The descriptors of both programs, before they are placed.
pub(super) struct Wires {
    left: Vec<(OwnedFd, i32)>,
    right: Vec<(OwnedFd, i32)>,
}

impl Wires {
    pub(super) fn make(wiring: Wiring) -> io::Result<Self> {
        match wiring {
            Wiring::Pipes => {
                let (right_in, left_out) = open::pipe()?;
                let (left_in, right_out) = open::pipe()?;
                Ok(Self {
                    left: vec![(left_in, 0), (left_out, 1)],
                    right: vec![(right_in, 0), (right_out, 1)],
                })
            }
            Wiring::Socket => {
                let (left, right) = Stream::pair()?;
                let (left_too, right_too) = (left.try_clone()?, right.try_clone()?);
                Ok(Self {
                    left: vec![(left.into(), 0), (left_too.into(), 1)],
                    right: vec![(right.into(), 0), (right_too.into(), 1)],
                })
            }
            Wiring::Fd(..3) => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "descriptors 0, 1 and 2 are left alone: give 3 or more",
            )),
            Wiring::Fd(number) => {
                let (left, right) = Stream::pair()?;
                Ok(Self { left: vec![(left.into(), number)], right: vec![(right.into(), number)] })
            }
        }
    }

    /// What the joined ends are called by the kernel.
    pub(super) fn files(&self) -> io::Result<JoinedFiles> {
        let all = self.left.iter().chain(&self.right);
        let names = all.map(|(fd, _)| FileName::of_unnamed(fd)).collect::<io::Result<_>>()?;
        Ok(JoinedFiles(names))
    }

    /// Gives away the left program's share, which closes in the caller when it is dropped.
    pub(super) fn take_left(&mut self) -> Vec<(OwnedFd, i32)> {
        std::mem::take(&mut self.left)
    }

    /// Gives away the right program's share.
    pub(super) fn take_right(&mut self) -> Vec<(OwnedFd, i32)> {
        std::mem::take(&mut self.right)
    }
}

pub(super) fn placements(wires: &[(OwnedFd, i32)]) -> Vec<Placement<'_>> {
    wires.iter().map(|(fd, target)| Placement { source: fd.as_fd(), target: *target }).collect()
}
