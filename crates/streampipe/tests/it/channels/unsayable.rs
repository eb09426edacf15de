//! What a format that does not describe itself cannot say: refused by the sender, or by name, or the same at both ends.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::num::NonZeroI128;
use std::time::SystemTime;

use serde::de::{DeserializeOwned, IgnoredAny, SeqAccess, Visitor};
use serde::ser::{SerializeMap, SerializeSeq, SerializeStruct, SerializeTuple};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use streampipe::{RecvError, SendReason, channel};

use crate::support::tests_alone;

/// What the sender is told. Nothing arrives, and the channel goes on.
fn refused<T: Serialize + DeserializeOwned + fmt::Debug>(value: &T) -> String {
    let (ours, theirs) = channel::<T, T>().expect("a pair");
    let error = ours.send(value).expect_err("the receiver could not notice");
    assert!(matches!(error.reason(), SendReason::Unencodable(_)), "{error:?}");
    assert!(matches!(theirs.try_recv(), Err(RecvError::Empty)), "{value:?} was sent all the same");
    let refused = ours.call(value).expect_err("nor as a request");
    assert!(refused.to_string().contains(&error.to_string()), "{refused}");
    error.to_string()
}

/// What the receiver is told of a value that was sent. The channel goes on.
fn undecodable<T: Serialize + DeserializeOwned + fmt::Debug>(value: &T) -> String {
    let (ours, theirs) = channel::<T, T>().expect("a pair");
    ours.send(value).expect("the sender cannot know");
    let error = theirs.try_recv().expect_err("no such value");
    assert!(matches!(error, RecvError::Undecodable(_)), "{error:?}");
    assert!(!error.is_final());
    error.to_string()
}

/// It arrives as it was sent.
fn arrives<T: Serialize + DeserializeOwned + fmt::Debug + PartialEq>(value: &T) {
    let (ours, theirs) = channel::<T, T>().expect("a pair");
    ours.send(value).expect("room");
    assert_eq!(&theirs.try_recv().expect("a value"), value);
}

fn contains(text: &str, words: &[&str]) {
    for word in words {
        assert!(text.contains(word), "no {word:?} in {text:?}");
    }
}

/// A field that is left out, in front of one that is not.
#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Skips {
    #[serde(skip_serializing_if = "Option::is_none", default)]
    a: Option<u8>,
    b: u8,
    c: String,
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
enum SkipsInside {
    Whole(u8),
    Parts {
        #[serde(skip_serializing_if = "Option::is_none", default)]
        a: Option<u8>,
        b: u8,
    },
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Skipped {
    #[serde(skip)]
    here_alone: u8,
    b: u8,
    c: String,
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Flattened {
    a: u8,
    #[serde(flatten)]
    inner: Inner,
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Inner {
    b: u8,
}

/// Says that it has other numbers of parts than it has.
#[derive(Debug)]
enum Miscounts {
    List(usize),
    Tuple(usize),
    Structure(usize),
    Map(usize),
}

impl Serialize for Miscounts {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Self::List(claimed) => {
                let mut list = serializer.serialize_seq(Some(claimed))?;
                list.serialize_element(&7)?;
                list.serialize_element(&7)?;
                list.end()
            }
            Self::Tuple(claimed) => {
                let mut tuple = serializer.serialize_tuple(claimed)?;
                tuple.serialize_element(&7)?;
                tuple.serialize_element(&7)?;
                tuple.end()
            }
            Self::Structure(claimed) => {
                let mut parts = serializer.serialize_struct("Structure", claimed)?;
                parts.serialize_field("a", &7)?;
                parts.serialize_field("b", &7)?;
                parts.end()
            }
            Self::Map(claimed) => {
                let mut map = serializer.serialize_map(Some(claimed))?;
                map.serialize_entry(&1, &7)?;
                map.serialize_entry(&2, &7)?;
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Miscounts {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<i32>::deserialize(deserializer).map(|list| Self::List(list.len()))
    }
}

/// A list and a map that are iterators, and do not know how long they are.
#[derive(Debug)]
enum Endless {
    List,
    Map,
}

impl Serialize for Endless {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let even = (0..9).filter(|number| number % 2 == 0);
        match self {
            Self::List => serializer.collect_seq(even),
            Self::Map => serializer.collect_map(even.map(|number| (number, number))),
        }
    }
}

impl<'de> Deserialize<'de> for Endless {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Vec::<i32>::deserialize(deserializer).map(|_| Self::List)
    }
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
#[serde(untagged)]
enum Untagged {
    Number(u8),
    Text(String),
    Parts { a: u8 },
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
#[serde(tag = "kind")]
enum Internal {
    Nothing,
    Parts { a: u8 },
    Other(Inner),
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
#[serde(tag = "kind", content = "value")]
enum Adjacent {
    Nothing,
    Number(u8),
    Two(u8, String),
    Parts { a: u8 },
}

/// Any value at all, as `serde_json::Value` is.
#[derive(Debug, PartialEq)]
struct Any(u64);

impl Serialize for Any {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_u64(self.0)
    }
}

impl<'de> Deserialize<'de> for Any {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Asks;
        impl Visitor<'_> for Asks {
            type Value = Any;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("anything")
            }

            fn visit_u64<E>(self, number: u64) -> Result<Any, E> {
                Ok(Any(number))
            }
        }
        deserializer.deserialize_any(Asks)
    }
}

/// Ignores a part of itself.
#[derive(Debug)]
struct Ignores;

impl Serialize for Ignores {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        (1_u8, "ignored", 2_u8).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Ignores {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <(u8, IgnoredAny, u8)>::deserialize(deserializer).map(|_| Self)
    }
}

/// Takes the first part of what came, and leaves the rest.
#[derive(Debug)]
enum Leaves {
    List,
    Tuple,
    Map,
}

/// The same, with something behind it that the rest would be taken for.
type LeavesOfLists = (LeavesSome<0>, u8);
type LeavesOfTuples = (LeavesSome<1>, u8);
type LeavesOfMaps = (LeavesSome<2>, u8);

#[derive(Debug)]
struct LeavesSome<const KIND: u8>;

impl<const KIND: u8> LeavesSome<KIND> {
    const WHAT: Leaves = match KIND {
        0 => Leaves::List,
        1 => Leaves::Tuple,
        _ => Leaves::Map,
    };
}

impl<const KIND: u8> Serialize for LeavesSome<KIND> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match Self::WHAT {
            Leaves::List => [1_u8, 2, 3].as_slice().serialize(serializer),
            Leaves::Tuple => (1_u8, 2_u8, 3_u8).serialize(serializer),
            Leaves::Map => BTreeMap::from([(1_u8, 2_u8), (3, 4)]).serialize(serializer),
        }
    }
}

impl<'de, const KIND: u8> Deserialize<'de> for LeavesSome<KIND> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct First;
        impl<'de> Visitor<'de> for First {
            type Value = ();

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a part")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
                list.next_element::<u8>().map(drop)
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
                map.next_entry::<u8, u8>().map(drop)
            }
        }
        match Self::WHAT {
            Leaves::List => deserializer.deserialize_seq(First),
            Leaves::Tuple => deserializer.deserialize_tuple(3, First),
            Leaves::Map => deserializer.deserialize_map(First),
        }?;
        Ok(Self)
    }
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Defaults {
    #[serde(default)]
    a: u8,
    #[serde(default, rename = "other", alias = "third")]
    b: String,
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct OneDirection {
    #[serde(skip_serializing, default)]
    unsent: u8,
    b: u8,
    c: u16,
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct InTuple(
    #[serde(skip_serializing_if = "Option::is_none", default)] Option<u8>,
    #[serde(default)] u8,
);

/// serde counts the first one when it writes, and not when it reads.
#[derive(Serialize, Deserialize, Debug, PartialEq)]
enum Numbered {
    #[serde(skip)]
    _First,
    Second,
    Third,
}

#[derive(Serialize, Deserialize, Debug, PartialEq)]
enum DefaultsInside {
    Parts {
        #[serde(alias = "first")]
        a: u8,
        #[serde(skip)]
        here_alone: u8,
        b: String,
    },
}

/// serde writes the name into it, and does not read it.
#[derive(Serialize, Deserialize, Debug, PartialEq)]
#[serde(tag = "type")]
struct S {
    k: u8,
    v: Vec<u8>,
}

/// A field that happens to be what the structure is called.
#[derive(Serialize, Deserialize, Debug, PartialEq)]
struct Named {
    name: String,
}

tests_alone! {
    /// Of the 81 bytes of such a value, the receiver made 83.
    fn a_structure_with_a_tag_is_refused_at_the_sender() {
        for len in [0, 1, 81, 83] {
            let tagged = S { k: 7, v: vec![9; len] };
            contains(&refused(&tagged), &["S has a tag field"]);
            contains(&refused(&(1, vec![tagged])), &["S has a tag field"]);
        }
        arrives(&Named { name: "Named".into() });
    }

    /// Of 2,304 such values, 5 arrived as others, and the rest as garbage.
    fn a_field_that_is_left_out_is_refused_at_the_sender() {
        let (ours, theirs) = channel::<Skips, Skips>().expect("a pair");
        for b in 0..=255 {
            for c in ["", "a", "ab", "\0", "\u{1}", "\u{1}x", "\0\0", "\u{2}\u{1}z", "\u{3}\u{2}ab"] {
                let value = Skips { a: None, b, c: c.into() };
                let error = ours.send(&value).expect_err("it is left out");
                contains(&error.to_string(), &["field a of Skips", "skip_serializing_if"]);
                assert!(matches!(theirs.try_recv(), Err(RecvError::Empty)));
            }
        }
        // The channel goes on, with values that leave nothing out.
        let whole = Skips { a: Some(1), b: 2, c: "three".into() };
        ours.send(&whole).expect("room");
        assert_eq!(theirs.try_recv().expect("a value"), whole);
        // Wherever it stands.
        let inside = vec![SkipsInside::Whole(1), SkipsInside::Parts { a: None, b: 1 }];
        contains(&refused(&inside), &["field a of Parts", "skip_serializing_if"]);
        contains(&refused(&Some((1, Skips { a: None, b: 1, c: String::new() }))), &["of Skips"]);
        arrives(&SkipsInside::Parts { a: Some(1), b: 1 });
    }

    fn a_length_that_nobody_knows_is_refused_at_the_sender() {
        contains(&refused(&Flattened { a: 1, inner: Inner { b: 2 } }), &["a map", "flatten"]);
        contains(&refused(&Endless::Map), &["a map", "iterator"]);
        contains(&refused(&Endless::List), &["a list", "iterator"]);
        contains(&refused(&(1, vec![Endless::List])), &["a list", "iterator"]);
    }

    fn a_length_that_is_not_true_is_refused_at_the_sender() {
        for claimed in [0, 1, 3, usize::MAX] {
            let words: &[&str] = &[&format!("it has {claimed} parts"), "has 2"];
            contains(&refused(&Miscounts::List(claimed)), words);
            contains(&refused(&Miscounts::Tuple(claimed)), words);
            contains(&refused(&Miscounts::Structure(claimed)), words);
            contains(&refused(&Miscounts::Map(claimed)), words);
        }
        let (ours, theirs) = channel::<Miscounts, Miscounts>().expect("a pair");
        ours.send(Miscounts::List(2)).expect("as many as it says");
        assert!(matches!(theirs.try_recv(), Ok(Miscounts::List(2))));
    }

    /// A sender sees nothing but what they contain.
    fn a_type_that_asks_what_comes_next_is_an_error_of_the_receiver() {
        let any = ["deserialize_any", "untagged"];
        for value in [Untagged::Number(1), Untagged::Text("a".into()), Untagged::Parts { a: 1 }] {
            contains(&undecodable(&value), &["unsayable::Untagged", any[0], any[1]]);
        }
        for value in [Internal::Nothing, Internal::Parts { a: 1 }, Internal::Other(Inner { b: 1 })] {
            contains(&undecodable(&value), &["unsayable::Internal", any[0], "a tag field"]);
        }
        contains(&undecodable(&Any(1)), &["unsayable::Any", any[0], "serde_json::Value"]);
        contains(&undecodable(&vec![(1, Any(1))]), &["unsayable::Any", any[0]]);
        contains(&undecodable(&Ignores), &["unsayable::Ignores", "deserialize_ignored_any"]);
        let adjacent = [
            Adjacent::Nothing,
            Adjacent::Number(7),
            Adjacent::Two(7, "seven".into()),
            Adjacent::Parts { a: 7 },
        ];
        for value in adjacent {
            contains(&undecodable(&value), &["unsayable::Adjacent", "deserialize_identifier"]);
        }
    }

    fn a_type_that_takes_less_than_came_is_an_error_of_the_receiver() {
        let less = ["more parts"];
        let lists: LeavesOfLists = (LeavesSome, 7);
        let tuples: LeavesOfTuples = (LeavesSome, 7);
        let maps: LeavesOfMaps = (LeavesSome, 7);
        contains(&undecodable(&lists), &less);
        contains(&undecodable(&tuples), &less);
        contains(&undecodable(&maps), &less);
        // At the very end, too.
        contains(&undecodable(&LeavesSome::<0>), &less);
    }

    /// The two directions of such a type differ, and neither end knows the other one. GOTCHAS.md says so.
    fn attributes_of_one_direction_alone_are_seen_by_nobody() {
        let (ours, theirs) = channel::<OneDirection, OneDirection>().expect("a pair");
        ours.send(OneDirection { unsent: 1, b: 7, c: 8 }).expect("a structure of two");
        let error = theirs.try_recv().expect_err("a structure of three");
        assert!(matches!(error, RecvError::Undecodable(_)), "{error:?}");
        ours.send(OneDirection { unsent: 1, b: 7, c: 0x0101 }).expect("a structure of two");
        let wrong = OneDirection { unsent: 7, b: 0x81, c: 2 };
        assert_eq!(theirs.try_recv().expect("three of two"), wrong);

        let (ours, theirs) = channel::<InTuple, InTuple>().expect("a pair");
        ours.send(InTuple(None, 1)).expect("a tuple of one");
        let error = theirs.try_recv().expect_err("a tuple of two");
        assert!(matches!(error, RecvError::Undecodable(_)), "{error:?}");

        let (ours, theirs) = channel::<Numbered, Numbered>().expect("a pair");
        ours.send(Numbered::Second).expect("room");
        assert_eq!(theirs.try_recv().expect("a variant"), Numbered::Third);
    }

    fn what_needs_no_description_arrives() {
        arrives(&(Skipped { here_alone: 0, b: 1, c: "c".into() }, 7));
        arrives(&(Defaults { a: 1, b: "b".into() }, 7));
        arrives(&(DefaultsInside::Parts { a: 1, here_alone: 0, b: "b".into() }, 7));
        for number in [i128::MIN, -1, 0, i128::MAX] {
            arrives(&number);
            arrives(&NonZeroI128::new(number | 1));
        }
        arrives(&(u128::MAX, '\0', char::MAX, 'é', f64::INFINITY, f32::MIN_POSITIVE));
        // They have one form for people and another one for programs; both ends take the same.
        for address in ["127.0.0.1", "::1"] {
            arrives::<IpAddr>(&address.parse().expect("an address"));
        }
        arrives::<SocketAddr>(&"[::1]:80".parse().expect("an address"));
        arrives(&SystemTime::now());
        arrives(&BTreeMap::from([(Some(()), vec![[(); 3]; 2]), (None, vec![])]));
    }
}
