use crate::{HEADER_LEN, Header, Malformed, Place, Sequence, Torn};

/// What the decoder found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Event<'input> {
    /// A frame's header, and where the frame stands in its message.
    Header(Header, Place),
    /// Payload of that frame: not necessarily all of it, never nothing.
    Payload(&'input [u8]),
}

/// What the decoder waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Want {
    /// The rest of a header: so many bytes.
    Header(usize),
    /// The rest of a frame's payload: so many bytes.
    Payload(u32),
}

/// Finds frames in a stream of bytes, which may be cut at any byte.
///
/// Input that is not complete is no error: the decoder takes what there is, and goes on with the next piece. It
/// holds at most one header, and never memory on a peer's word. After an error it gives the same one again.
#[derive(Clone, Debug)]
pub struct Decoder {
    header: [u8; HEADER_LEN],
    /// How many bytes of the header there are.
    have: usize,
    /// The payload of the frame, and how much of it is still to come. Less than `HEADER_LEN` in `have` only if 0.
    length: u32,
    left: u32,
    sequence: Sequence,
    malformed: Option<Malformed>,
}

impl Decoder {
    /// Expects the first byte of a frame.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            header: [0; HEADER_LEN],
            have: 0,
            length: 0,
            left: 0,
            sequence: Sequence::new(),
            malformed: None,
        }
    }

    /// Takes bytes from the front of the input; returns what they are, or `None` once all are taken.
    ///
    /// A frame without payload is its header alone. A message is complete when the payload of a frame is, whose
    /// header has [no more](Header::has_more) to come.
    ///
    /// # Errors
    ///
    /// [`Malformed`]; for good, as it is not known where the next frame would begin.
    #[inline]
    pub fn next<'input>(
        &mut self,
        input: &mut &'input [u8],
    ) -> Result<Option<Event<'input>>, Malformed> {
        if let Some(malformed) = self.malformed {
            return Err(malformed);
        }
        if self.left > 0 {
            return Ok(self.take_payload(input));
        }
        let wanted = HEADER_LEN - self.have;
        let (taken, rest) = input.split_at(wanted.min(input.len()));
        self.header[self.have..self.have + taken.len()].copy_from_slice(taken);
        self.have += taken.len();
        *input = rest;
        if self.have < HEADER_LEN {
            return Ok(None);
        }
        match self.take_header() {
            Ok((header, place)) => Ok(Some(Event::Header(header, place))),
            Err(malformed) => {
                self.malformed = Some(malformed);
                Err(malformed)
            }
        }
    }

    /// What must come next. A reader that knows can receive it where it belongs.
    #[must_use]
    #[inline]
    pub const fn want(&self) -> Want {
        match self.left {
            0 => Want::Header(HEADER_LEN - self.have),
            left => Want::Payload(left),
        }
    }

    /// Notes that so many bytes of payload were received elsewhere, without passing here; at most what is
    /// [wanted](Self::want) of them counts.
    #[inline]
    pub fn skip_payload(&mut self, bytes: u32) {
        self.left -= bytes.min(self.left);
    }

    /// Whether a message was begun and is not complete.
    #[must_use]
    pub const fn is_inside(&self) -> bool {
        self.left > 0 || self.have > 0 || self.sequence.is_inside()
    }

    /// How many descriptors must come with the next frame, if it is not a withdrawal.
    #[must_use]
    #[inline]
    pub fn fds_due(&self) -> u16 {
        if self.left > 0 { 0 } else { self.sequence.fds_due() }
    }

    /// Says that the bytes have ended.
    ///
    /// # Errors
    ///
    /// [`Torn`] if they ended inside of a message.
    pub fn finish(&self) -> Result<(), Torn> {
        let header = HEADER_LEN as u64;
        if self.left > 0 {
            let need = header + u64::from(self.length);
            return Err(Torn { have: need - u64::from(self.left), need });
        }
        if self.is_inside() {
            return Err(Torn { have: self.have as u64, need: header });
        }
        Ok(())
    }

    #[inline]
    fn take_header(&mut self) -> Result<(Header, Place), Malformed> {
        let header = Header::parse(self.header)?;
        let place = self.sequence.accept(&header)?;
        self.have = 0;
        (self.length, self.left) = (header.length, header.length);
        Ok((header, place))
    }

    fn take_payload<'input>(&mut self, input: &mut &'input [u8]) -> Option<Event<'input>> {
        let wanted = usize::try_from(self.left).unwrap_or(usize::MAX);
        let (payload, rest) = input.split_at(wanted.min(input.len()));
        *input = rest;
        // At most `left`, which is a `u32`.
        self.left -= payload.len() as u32;
        (!payload.is_empty()).then_some(Event::Payload(payload))
    }
}

impl Default for Decoder {
    fn default() -> Self {
        Self::new()
    }
}
