use libc::c_char;

/// The variable `LISTEN_PID`, whose value only the child knows: it fills in its own number.
#[derive(Debug)]
pub(super) struct OwnId([u8; Self::NAME.len() + Self::DIGITS + 1]);

impl OwnId {
    const NAME: &'static [u8] = b"LISTEN_PID=";
    /// Of the largest `i32`.
    const DIGITS: usize = 10;

    pub(super) fn new() -> Self {
        let mut text = [0; Self::NAME.len() + Self::DIGITS + 1];
        text[..Self::NAME.len()].copy_from_slice(Self::NAME);
        Self(text)
    }

    /// Where the variable's text will stand.
    pub(super) fn as_ptr(&self) -> *const c_char {
        self.0.as_ptr().cast()
    }

    /// In the child: arithmetic within bounds, nothing else.
    pub(super) fn fill_in(&mut self, id: i32) {
        let mut digits = [b'0'; Self::DIGITS];
        let mut rest = id.unsigned_abs();
        let mut count = 0;
        for digit in digits.iter_mut().rev() {
            if rest == 0 && count > 0 {
                break;
            }
            *digit = b'0' + (rest % 10) as u8;
            rest /= 10;
            count += 1;
        }
        let value = self.0.iter_mut().skip(Self::NAME.len());
        let written = digits.iter().skip(Self::DIGITS - count);
        for (place, digit) in value.zip(written.chain([&0])) {
            *place = *digit;
        }
    }

    #[cfg(test)]
    fn text(&self) -> &std::ffi::CStr {
        std::ffi::CStr::from_bytes_until_nul(&self.0).expect("room for a NUL")
    }
}

#[cfg(test)]
mod tests {
    use super::OwnId;

    #[test]
    fn numbers_of_all_lengths_are_written() {
        for id in [0, 1, 9, 10, 11, 99, 100, 4_194_304, i32::MAX] {
            let mut own = OwnId::new();
            own.fill_in(id);
            assert_eq!(own.text().to_str().unwrap(), format!("LISTEN_PID={id}"));
        }
    }
}
