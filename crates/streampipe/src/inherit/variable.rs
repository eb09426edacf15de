//! What the environment says: `version:number:type:cookie`, for example `1:3:stream:4711`; of a ring, `1:3:ring:4711`.
//!
//! Where sockets have no cookie, the inode stands there: `1:3:stream:inode=4711`.

use streampipe_sys::inherited::{Expected, SocketIdentity};

use crate::Engine;
use crate::call::{Family, Type};

/// The variable that leads a child to its end.
pub(crate) const VARIABLE: &str = "STREAMPIPE_END";

/// The one version there is.
const VERSION: &str = "1";

/// The longest value that can be right: two numbers of 10 and 20 digits, the words with room.
const LONGEST: usize = 64;

/// Stands in front of the number of an inode.
const INODE: &str = "inode=";

/// What the variable says for a stream of this engine under this number.
pub(crate) fn value(number: i32, engine: Engine, identity: SocketIdentity) -> String {
    let kind = match engine {
        Engine::Socket => "stream",
        Engine::Ring => "ring",
    };
    match identity {
        SocketIdentity::Cookie(cookie) => format!("{VERSION}:{number}:{kind}:{cookie}"),
        SocketIdentity::Inode(inode) => format!("{VERSION}:{number}:{kind}:{INODE}{inode}"),
    }
}

/// Reads the value; `None` if it is not exactly of the form above.
pub(super) fn parse(value: &str) -> Option<(i32, Engine, Expected)> {
    if value.len() > LONGEST {
        return None;
    }
    let mut fields = value.split(':');
    let mut field = || fields.next();
    let (version, number, kind, identity) = (field()?, field()?, field()?, field()?);
    let engine = match kind {
        "stream" => Engine::Socket,
        "ring" => Engine::Ring,
        _ => return None,
    };
    if version != VERSION || field().is_some() {
        return None;
    }
    let number = i32::try_from(decimal(number)?).ok()?;
    let (domain, kind) = (Family::LOCAL.as_raw(), Type::STREAM.as_raw());
    let identity = match identity.strip_prefix(INODE) {
        Some(inode) => SocketIdentity::Inode(decimal(inode)?),
        None => SocketIdentity::Cookie(decimal(identity)?),
    };
    Some((number, engine, Expected { domain, kind, identity }))
}

/// A number as this library writes it: digits alone, no zero in front.
fn decimal(digits: &str) -> Option<u64> {
    let is_written_so = digits == "0" || !digits.starts_with('0');
    let all_digits = digits.bytes().all(|byte| byte.is_ascii_digit());
    digits.parse().ok().filter(|_| is_written_so && all_digits)
}

#[cfg(test)]
mod tests {
    use streampipe_sys::inherited::SocketIdentity;

    use super::{parse, value};
    use crate::Engine;

    #[test]
    fn what_is_written_is_read() {
        for (number, name) in [(3, 1), (0, 0), (i32::MAX, u64::MAX), (64, 4711)] {
            for engine in [Engine::Socket, Engine::Ring] {
                for identity in [SocketIdentity::Cookie(name), SocketIdentity::Inode(name)] {
                    let written = value(number, engine, identity);
                    let (read, same, expected) = parse(&written).expect("our own form");
                    assert_eq!((read, same, expected.identity), (number, engine, identity));
                }
            }
        }
    }

    #[test]
    fn anything_else_is_refused() {
        let bad = [
            "",
            ":",
            ":::",
            "1",
            "1:3",
            "1:3:stream",
            "1:3:stream:",
            "1:3:stream:5:",
            "2:3:stream:5",
            "1:-3:stream:5",
            "1:+3:stream:5",
            "1: 3:stream:5",
            "1:03:stream:5",
            "1:3:dgram:5",
            "1:3:STREAM:5",
            "1:3:stream:05",
            "1:3:stream:0x5",
            "1:2147483648:stream:5",
            "1:3:stream:18446744073709551616",
            "1:3:stream:5\n",
            " 1:3:stream:5",
            "1:٣:stream:5",
            "1:3:stream:inode=",
            "1:3:stream:inode=05",
            "1:3:stream:inode=-5",
            "1:3:stream:inode=inode=5",
            "1:3:stream:inode:5",
            "1:3:stream:INODE=5",
        ];
        for text in bad {
            assert!(parse(text).is_none(), "{text:?}");
        }
    }

    /// Promise P13: whatever the variable holds, the answer is a value, and nothing is adopted that
    /// does not have the form.
    #[test]
    fn a_million_garbage_values_are_refused() {
        let mut random = fastrand::Rng::with_seed(0x5eed);
        let good = [SocketIdentity::Cookie(4711), SocketIdentity::Inode(4711)]
            .map(|identity| value(3, Engine::Socket, identity));
        let mut accepted = 0;
        for turn in 0..1_000_000_u32 {
            let text = match turn % 4 {
                0 => mutated(&mut random, &good[0]),
                1 => mutated(&mut random, &good[1]),
                _ => noise(&mut random),
            };
            if let Some((number, engine, expected)) = parse(&text) {
                // The form is canonical: only a text that says exactly this is read as this.
                assert_eq!(value(number, engine, expected.identity), text);
                accepted += 1;
            }
        }
        // The control: single changes of a digit are valid, so the test does reach the other side.
        assert!(accepted > 100, "{accepted}");
    }

    fn noise(random: &mut fastrand::Rng) -> String {
        let length = random.usize(0..80);
        (0..length)
            .map(|_| if random.bool() { random.char(' '..='~') } else { random.char(..) })
            .collect()
    }

    fn mutated(random: &mut fastrand::Rng, good: &str) -> String {
        let mut text: Vec<char> = good.chars().collect();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(0..text.len());
            match random.u8(0..3) {
                0 => text[at] = random.char('0'..=':'),
                1 => drop(text.remove(at)),
                _ => text.insert(at, random.char(' '..='~')),
            }
            if text.is_empty() {
                break;
            }
        }
        text.into_iter().collect()
    }
}
