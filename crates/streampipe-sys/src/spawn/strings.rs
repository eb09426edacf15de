use std::ffi::OsStr;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::ptr;

use libc::c_char;

/// A list of C strings in one piece of memory: two allocations, however many strings.
///
/// A start copies the whole environment, which at an allocation a string costs as much as the clone.
#[derive(Debug, Default)]
pub struct Strings {
    bytes: Vec<u8>,
    /// Where each string starts in `bytes`; each ends with a NUL.
    starts: Vec<usize>,
}

impl Strings {
    /// An empty list with room for so many bytes, and strings of usual lengths.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        Self { bytes: Vec::with_capacity(bytes), starts: Vec::with_capacity(bytes / 32) }
    }

    /// Adds an argument.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if there is a NUL in it.
    pub fn add(&mut self, text: &OsStr) -> io::Result<()> {
        self.push([text.as_bytes()])
    }

    /// Adds a variable: `KEY=VALUE`.
    ///
    /// # Errors
    ///
    /// `InvalidInput` if there is a NUL in either.
    pub fn add_variable(&mut self, key: &OsStr, value: &OsStr) -> io::Result<()> {
        self.push([key.as_bytes(), b"=", value.as_bytes()])
    }

    fn push<const N: usize>(&mut self, parts: [&[u8]; N]) -> io::Result<()> {
        let start = self.bytes.len();
        parts.iter().for_each(|part| self.bytes.extend_from_slice(part));
        if self.bytes[start..].contains(&0) {
            self.bytes.truncate(start);
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                "a NUL byte in an argument or a variable",
            ));
        }
        self.bytes.push(0);
        self.starts.push(start);
        Ok(())
    }

    /// A null-terminated array for `execve`, with one more string behind the others.
    pub(super) fn pointers(&self, more: Option<*const c_char>) -> Vec<*const c_char> {
        let mut pointers = Vec::with_capacity(self.starts.len() + 2);
        pointers.extend(self.starts.iter().map(|&start| self.bytes[start..].as_ptr().cast()));
        pointers.extend(more);
        pointers.push(ptr::null());
        pointers
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::{CStr, OsStr};

    use super::Strings;

    #[test]
    fn strings_keep_their_order_and_their_bytes() {
        let mut strings = Strings::default();
        strings.add(OsStr::new("")).unwrap();
        strings.add_variable(OsStr::new("A"), OsStr::new("b=c")).unwrap();
        strings.add(OsStr::new("nul\0")).unwrap_err();
        strings.add_variable(OsStr::new("nul\0"), OsStr::new("")).unwrap_err();
        strings.add(OsStr::new("last")).unwrap();
        let more = c"more";
        let pointers = strings.pointers(Some(more.as_ptr()));
        let (end, pointers) = pointers.split_last().unwrap();
        assert!(end.is_null());
        // SAFETY: `pointers` gives NUL-terminated strings of `strings`, which lives on, and `more`.
        let read = pointers.iter().map(|&text| unsafe { CStr::from_ptr(text) });
        let read: Vec<_> = read.map(|text| text.to_str().unwrap()).collect();
        assert_eq!(read, ["", "A=b=c", "last", "more"]);
    }
}
