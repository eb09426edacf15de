//! All short sequences of headers, against a list of those that are legal.
//!
//! The list is not made by rules about what may come next, as [`Sequence`] and the oracle are, but by writing out
//! whole messages and putting them one behind the other.

use std::collections::{BTreeSet, HashMap};

use streampipe_wire::{HEADER_LEN, Header, Kind, Place, Sequence};

/// No sequence that is tried is longer.
const MOST: usize = 4;

/// Kinds and ids of messages: each differs from the first in one of them.
const NAMES: [(Kind, u64); 3] = [(Kind::Message, 1), (Kind::Request, 1), (Kind::Message, 2)];

/// What the last header of a legal sequence is, how many descriptors must come next, and whether something must.
type Verdict = (Place, u16, bool);

/// A header in a form that can be a key.
type Key = [u8; HEADER_LEN];

/// All ways to write this many bytes as frames of some.
fn payloads(bytes: u32) -> Vec<Vec<u32>> {
    if bytes == 0 {
        return vec![Vec::new()];
    }
    let firsts = 1..=bytes;
    let ways = firsts.flat_map(|first| {
        payloads(bytes - first).into_iter().map(move |rest| [vec![first], rest].concat())
    });
    ways.collect()
}

/// All messages: how large, in which frames.
fn messages() -> Vec<Vec<Header>> {
    let mut messages = Vec::new();
    for (kind, id) in NAMES {
        let plain = Header::new(kind, id);
        for rest_fds in [0, 1, 254] {
            for bytes in 0..=2 {
                for lengths in payloads(bytes) {
                    messages.push(crate::samples::in_small_frames(
                        plain,
                        if bytes == 0 { &[0] } else { &lengths },
                        rest_fds,
                    ));
                }
            }
        }
    }
    messages
}

/// Each legal sequence that is short enough, with what is said of its last header.
fn legal() -> HashMap<Vec<Key>, Verdict> {
    let messages = messages();
    let mut legal = HashMap::new();
    let mut whole = vec![Vec::new()];
    while let Some(before) = whole.pop() {
        for message in &messages {
            let mut sequence: Vec<Key> = before.clone();
            for (at, header) in message.iter().enumerate() {
                if sequence.len() == MOST {
                    break;
                }
                sequence.push(header.to_bytes());
                let place = if at == 0 { Place::First } else { Place::Next };
                let next = message.get(at + 1);
                let verdict = (place, next.map_or(0, |it| it.fds), next.is_some());
                let is_new = legal.insert(sequence.clone(), verdict).is_none();
                if is_new && next.is_none() {
                    whole.push(sequence.clone());
                }
                if next.is_some() && sequence.len() < MOST {
                    let withdrawal = Header::new(Kind::Withdrawal, header.id);
                    let withdrawn = [&sequence[..], &[withdrawal.to_bytes()]].concat();
                    if legal.insert(withdrawn.clone(), (Place::Withdrawn, 0, false)).is_none() {
                        whole.push(withdrawn);
                    }
                }
            }
        }
    }
    legal
}

/// All headers of all messages, the withdrawals, and what comes near to them.
fn alphabet() -> Vec<Header> {
    let mut seen = BTreeSet::new();
    let mut alphabet: Vec<Header> = messages().concat();
    alphabet.extend([1, 2, 3].map(|id| Header::new(Kind::Withdrawal, id)));
    let plain = Header::new(Kind::Message, 1);
    alphabet.extend([
        Header { fds: 1, length: 1, ..plain },
        Header { fds: 1, length: 1, rest: 1, ..plain },
        Header { fds: 1, rest: 1, ..plain },
        Header { fds: 1, rest_fds: 253, ..plain },
        Header { fds: 252, rest_fds: 1, ..plain },
        Header { fds: 252, rest_fds: 2, ..plain },
        Header { fds: 253, rest_fds: 253, ..plain },
        Header { rest: 1, ..plain },
        Header { rest: 3, rest_fds: 1, ..plain },
        Header { kind: Kind::Answer, fds: 1, ..plain },
        Header { kind: Kind::NoAnswer, fds: 253, ..plain },
        Header { id: u64::MAX, fds: 1, ..plain },
    ]);
    alphabet.retain(|it| Header::parse(it.to_bytes()) == Ok(*it) && seen.insert(it.to_bytes()));
    alphabet
}

/// A walk through all sequences. Behind what is refused, all is as it was before, so that it need not go on there.
struct Walk {
    legal: HashMap<Vec<Key>, Verdict>,
    alphabet: Vec<Header>,
    accepted: usize,
}

impl Walk {
    fn from(&mut self, before: &Sequence, headers: &mut Vec<Key>) {
        for at in 0..self.alphabet.len() {
            let header = self.alphabet[at];
            headers.push(header.to_bytes());
            let mut sequence = before.clone();
            let place = sequence.accept(&header).ok();
            let verdict = place.map(|it| (it, sequence.fds_due(), sequence.is_inside()));
            assert_eq!(verdict, self.legal.get(headers).copied(), "{headers:?}");
            match verdict {
                None => assert_eq!(&sequence, before, "refused, and not as before: {headers:?}"),
                Some(_) => {
                    self.accepted += 1;
                    if headers.len() < MOST {
                        self.from(&sequence, headers);
                    }
                }
            }
            headers.pop();
        }
    }
}

#[test]
fn all_sequences_of_four_headers_are_accepted_if_they_make_up_messages() {
    let mut walk = Walk { legal: legal(), alphabet: alphabet(), accepted: 0 };
    walk.from(&Sequence::new(), &mut Vec::new());
    // The walk came by each of them, and they are not few.
    assert_eq!(walk.accepted, walk.legal.len());
    assert!(walk.accepted > 50_000, "{} are legal", walk.accepted);
}
