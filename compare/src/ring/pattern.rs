//! The bytes of all messages: every one is written on one side and compared on the other.

/// The bytes of one step of the loops, a cache line.
const LINE: usize = 64;
const WORD: usize = 8;

/// Writes a part of a message, which begins `offset` bytes into it, a multiple of 8.
pub fn fill(part: &mut [u8], sequence: u64, offset: usize) {
    let mut word = word_at(sequence, offset);
    let (lines, rest) = part.as_chunks_mut::<LINE>();
    for line in lines {
        fill_line(line, word);
        word = word.wrapping_add((LINE / WORD) as u64);
    }
    for chunk in rest.chunks_mut(WORD) {
        chunk.copy_from_slice(&word.to_le_bytes()[..chunk.len()]);
        word = word.wrapping_add(1);
    }
}

/// Reads every byte of a part; zero if all are as [`fill`] wrote them.
#[must_use]
pub fn difference(part: &[u8], sequence: u64, offset: usize) -> u64 {
    let mut word = word_at(sequence, offset);
    let mut wrong = 0;
    let (lines, rest) = part.as_chunks::<LINE>();
    for line in lines {
        wrong |= line_difference(line, word);
        word = word.wrapping_add((LINE / WORD) as u64);
    }
    for chunk in rest.chunks(WORD) {
        let mut bytes = word.to_le_bytes();
        bytes[..chunk.len()].copy_from_slice(chunk);
        wrong |= u64::from_le_bytes(bytes) ^ word;
        word = word.wrapping_add(1);
    }
    wrong
}

/// As [`fill`] of records of one line each, one after the other.
pub fn fill_lines(part: &mut [u8], sequence: u64) {
    let (lines, _) = part.as_chunks_mut::<LINE>();
    for (line, sequence) in lines.iter_mut().zip(sequence..) {
        fill_line(line, word_at(sequence, 0));
    }
}

/// As [`difference`] of records of one line each, one after the other.
#[must_use]
pub fn lines_difference(part: &[u8], sequence: u64) -> u64 {
    let (lines, _) = part.as_chunks::<LINE>();
    let differences = lines.iter().zip(sequence..);
    differences.fold(0, |wrong, (line, it)| wrong | line_difference(line, word_at(it, 0)))
}

#[inline(always)]
fn fill_line(line: &mut [u8; LINE], first: u64) {
    let (words, _) = line.as_chunks_mut::<WORD>();
    for (chunk, word) in words.iter_mut().zip(0..) {
        *chunk = first.wrapping_add(word).to_le_bytes();
    }
}

#[inline(always)]
fn line_difference(line: &[u8; LINE], first: u64) -> u64 {
    let (words, _) = line.as_chunks::<WORD>();
    let differences = words.iter().zip(0..);
    differences.fold(0, |wrong, (chunk, word)| {
        wrong | (u64::from_le_bytes(*chunk) ^ first.wrapping_add(word))
    })
}

/// Differs a lot between neighbouring sequences, so that an old message is not taken for a new one.
#[inline(always)]
fn word_at(sequence: u64, offset: usize) -> u64 {
    let first = sequence.wrapping_add(1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    first.wrapping_add((offset / WORD) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_changed_or_moved_byte_is_seen() {
        let mut bytes = vec![0; 4099];
        fill(&mut bytes, 7, 0);
        assert_eq!(difference(&bytes, 7, 0), 0);
        assert_ne!(difference(&bytes, 8, 0), 0);
        bytes.swap(8, 17);
        assert_ne!(difference(&bytes, 7, 0), 0);
        bytes.swap(8, 17);
        bytes[4098] ^= 1;
        assert_ne!(difference(&bytes, 7, 0), 0);
    }

    #[test]
    fn parts_make_the_whole() {
        let (mut whole, mut parts) = ([0; 200], [0; 200]);
        fill(&mut whole, 3, 0);
        let (first, second) = parts.split_at_mut(72);
        fill(first, 3, 0);
        fill(second, 3, 72);
        assert_eq!(whole, parts);
        assert_eq!(difference(&whole[72..], 3, 72), 0);
    }

    #[test]
    fn lines_are_records() {
        let mut bytes = [0; 192];
        fill_lines(&mut bytes, 5);
        assert_eq!(difference(&bytes[64..128], 6, 0), 0);
        assert_eq!(lines_difference(&bytes, 5), 0);
        assert_ne!(lines_difference(&bytes[64..], 5), 0);
    }
}
