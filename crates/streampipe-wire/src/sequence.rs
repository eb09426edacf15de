use crate::{Header, Kind, Malformed};

/// The most descriptors that come with one frame (`SCM_MAX_FD` of Linux).
pub const MAX_FDS: u16 = 253;

/// The most payload bytes in one frame.
///
/// 64 KiB and what an encoding puts around them. More would need memory in one piece that a busy system may not have.
pub const MAX_PAYLOAD: u32 = 73_728;

/// Where a frame stands in its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// It begins a message. It says how large the message is: `length + rest` bytes and `rest_fds` descriptors.
    First,
    /// It goes on with one.
    Next,
    /// It withdraws the one that was begun.
    Withdrawn,
}

/// Checks that frames that follow each other make up messages.
///
/// 1. The first frame of a message brings no descriptors, and says how many come: who receives can make room
///    before they do.
/// 2. The next frames have the same kind and id. Each brings either payload or descriptors, what is due and not
///    more, and says what is left. Payload comes first; of descriptors each frame but the last brings
///    [`MAX_FDS`].
/// 3. A message that was begun and not finished can be withdrawn.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sequence {
    begun: Option<Begun>,
}

/// A message of which more is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Begun {
    kind: Kind,
    id: u64,
    rest: u64,
    rest_fds: u32,
}

impl Sequence {
    /// Expects the first frame of a message.
    #[must_use]
    pub const fn new() -> Self {
        Self { begun: None }
    }

    /// Takes the next frame's header.
    ///
    /// # Errors
    ///
    /// [`Malformed`] if it is not one that may come here. The sequence is as it was before.
    #[inline]
    pub fn accept(&mut self, header: &Header) -> Result<Place, Malformed> {
        let place = match &self.begun {
            None => self.check_first(header)?,
            Some(begun) => begun.check_next(header)?,
        };
        self.begun = (place != Place::Withdrawn && header.has_more()).then_some(Begun {
            kind: header.kind,
            id: header.id,
            rest: header.rest,
            rest_fds: header.rest_fds,
        });
        Ok(place)
    }

    /// Whether a message was begun and more of it is due.
    #[must_use]
    pub const fn is_inside(&self) -> bool {
        self.begun.is_some()
    }

    /// How many descriptors must come with the next frame, if it is not a withdrawal.
    #[must_use]
    #[inline]
    pub fn fds_due(&self) -> u16 {
        match &self.begun {
            Some(begun) if begun.rest == 0 => {
                u16::try_from(begun.rest_fds).map_or(MAX_FDS, |due| due.min(MAX_FDS))
            }
            _ => 0,
        }
    }

    #[inline]
    fn check_first(&self, header: &Header) -> Result<Place, Malformed> {
        let carries_something = header.length > 0 || header.rest == 0;
        if header.kind == Kind::Withdrawal || header.fds > 0 || !carries_something {
            return Err(out_of_turn(0, 0, header));
        }
        Ok(Place::First)
    }
}

impl Begun {
    fn check_next(&self, header: &Header) -> Result<Place, Malformed> {
        if header.kind == Kind::Withdrawal && header.id == self.id {
            return Ok(Place::Withdrawn);
        }
        let is_same = header.kind == self.kind && header.id == self.id;
        let (bytes, fds) = brought_and_left(header);
        let adds_up = bytes == self.rest && fds == u64::from(self.rest_fds);
        let in_order = if self.rest > 0 {
            header.length > 0 && header.fds == 0
        } else {
            header.fds > 0 && (header.fds == MAX_FDS || header.rest_fds == 0)
        };
        if is_same && adds_up && in_order {
            return Ok(Place::Next);
        }
        Err(out_of_turn(self.rest, self.rest_fds, header))
    }
}

/// Their sums were checked when the header was parsed; one that was made by hand may say anything.
fn brought_and_left(header: &Header) -> (u64, u64) {
    let bytes = header.rest.saturating_add(u64::from(header.length));
    (bytes, u64::from(header.rest_fds) + u64::from(header.fds))
}

fn out_of_turn(due: u64, due_fds: u32, header: &Header) -> Malformed {
    let (found, found_fds) = brought_and_left(header);
    let found_fds = u32::try_from(found_fds).unwrap_or(u32::MAX);
    Malformed::Sequence { due, found, due_fds, found_fds }
}
