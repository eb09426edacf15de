//! What a way to talk must be able to do.

use std::io;

use crate::exchange::Driver;
use crate::peer::{Kind, Task};
use crate::race::Batch;

/// One way for two processes to talk.
pub trait Way: Sync {
    /// Its name, for `--only` and for the peer's arguments.
    fn name(&self) -> &'static str;

    /// What the tables call it.
    fn title(&self) -> &'static str;

    /// The other ways that its times are set against, beside the base of all.
    fn beside(&self) -> &'static [&'static str] {
        &[]
    }

    /// Whether it does this otherwise than the other ways do.
    fn takes_part(&self, _kind: Kind) -> bool {
        true
    }

    /// Starts the peer and connects to it.
    ///
    /// # Errors
    ///
    /// The channel's; the peer does not start.
    fn open(&self, task: Task) -> io::Result<Box<dyn Driver>>;

    /// The peer's part, until the other process is gone; `name` is what it was told to connect to.
    ///
    /// # Errors
    ///
    /// The channel's.
    fn serve(&self, kind: Kind, name: &str) -> io::Result<()>;

    /// Makes channels, both directions of each, and closes them; `None` if another way's row says it.
    fn pairs(&self) -> Option<io::Result<Batch>> {
        None
    }

    /// Starts peers and has their first answers, if that is not done by [`Way::open`].
    fn first_answers(&self) -> Option<io::Result<Batch>> {
        None
    }
}
