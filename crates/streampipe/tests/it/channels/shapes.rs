use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::fmt;
use std::marker::PhantomData;
use std::net::IpAddr;
use std::num::NonZeroU8;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use serde::de::IntoDeserializer;
use serde::{Deserialize, Serialize};
use streampipe::{Bytes, Channel, Fd, RecvError, SendReason, channel};

use super::{HANG, pairs};
use crate::engines::{pair, tests_of_engines};
use crate::messages::files;
use crate::support::{file_with, identity, tests_alone};

/// What an open file is told apart by.
type Inode = (u64, u64);

/// A value of any shape: with descriptors, to be sent, or with what they are, to be compared.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Value<F> {
    Nothing,
    Unit(()),
    Truth(bool),
    Small(i8, u16),
    Large { signed: i128, unsigned: u128 },
    Real(f64),
    Letter(char),
    Text(String),
    Bytes(Bytes),
    Fd(F),
    Maybe(Option<Option<Box<Value<F>>>>),
    Either(Result<Box<Value<F>>, Fds<F>>),
    List(Vec<Value<F>>),
    Pair(Box<(Value<F>, F, Value<F>)>),
    Three([Box<Value<F>>; 3]),
    Named(BTreeMap<String, Value<F>>),
    Numbered(HashMap<i64, Value<F>>),
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Fds<F>(VecDeque<F>);

impl Value<Fd> {
    /// The same, as it is seen from outside.
    fn seen(&self) -> Value<Inode> {
        match self {
            Self::Nothing => Value::Nothing,
            Self::Unit(()) => Value::Unit(()),
            Self::Truth(it) => Value::Truth(*it),
            Self::Small(one, two) => Value::Small(*one, *two),
            Self::Large { signed, unsigned } => {
                Value::Large { signed: *signed, unsigned: *unsigned }
            }
            Self::Real(it) => Value::Real(*it),
            Self::Letter(it) => Value::Letter(*it),
            Self::Text(it) => Value::Text(it.clone()),
            Self::Bytes(it) => Value::Bytes(it.clone()),
            Self::Fd(fd) => Value::Fd(identity(fd)),
            Self::Maybe(it) => Value::Maybe(it.as_ref().map(|it| it.as_deref().map(boxed))),
            Self::Either(Ok(it)) => Value::Either(Ok(boxed(it))),
            Self::Either(Err(Fds(fds))) => {
                Value::Either(Err(Fds(fds.iter().map(identity).collect())))
            }
            Self::List(list) => Value::List(list.iter().map(Self::seen).collect()),
            Self::Pair(it) => Value::Pair(Box::new((it.0.seen(), identity(&it.1), it.2.seen()))),
            Self::Three(three) => Value::Three(three.each_ref().map(|it| boxed(it))),
            Self::Named(map) => {
                Value::Named(map.iter().map(|(key, it)| (key.clone(), it.seen())).collect())
            }
            Self::Numbered(map) => {
                Value::Numbered(map.iter().map(|(key, it)| (*key, it.seen())).collect())
            }
        }
    }
}

fn boxed(value: &Value<Fd>) -> Box<Value<Inode>> {
    Box::new(value.seen())
}

type Values = Channel<Value<Fd>, Value<Fd>>;

/// Makes values at random.
struct Maker {
    random: fastrand::Rng,
    files: Vec<Fd>,
}

impl Maker {
    fn new(seed: u64) -> Self {
        let files = files(16, 0).into_iter().map(Fd::from).collect();
        Self { random: fastrand::Rng::with_seed(seed), files }
    }

    fn fd(&mut self) -> Fd {
        self.files[self.random.usize(..16)].try_clone().expect("room")
    }

    fn boxed(&mut self, depth: u32) -> Box<Value<Fd>> {
        Box::new(self.value(depth))
    }

    /// Now and then some that are not copied.
    fn bytes(&mut self) -> Bytes {
        let len = if self.random.u8(..32) == 0 { 4000 + self.random.usize(..6000) } else { 9 };
        (0..len).map(|_| self.random.u8(..)).collect::<Vec<_>>().into()
    }

    fn value(&mut self, depth: u32) -> Value<Fd> {
        let deeper = depth + 1;
        let few = self.random.usize(..4);
        match self.random.u8(..if depth < 4 { 17 } else { 10 }) {
            0 => Value::Nothing,
            1 => Value::Unit(()),
            2 => Value::Truth(self.random.bool()),
            3 => Value::Small(self.random.i8(..), self.random.u16(..)),
            4 => Value::Large { signed: self.random.i128(..), unsigned: self.random.u128(..) },
            5 => Value::Real(self.random.f64()),
            6 => Value::Letter(self.random.char(..)),
            7 => Value::Text((0..few * 9).map(|_| self.random.char(..)).collect()),
            8 => Value::Bytes(self.bytes()),
            9 => Value::Fd(self.fd()),
            10 => Value::Maybe(match few {
                0 => None,
                1 => Some(None),
                _ => Some(Some(self.boxed(deeper))),
            }),
            11 if few > 1 => Value::Either(Ok(self.boxed(deeper))),
            11 => Value::Either(Err(Fds((0..few).map(|_| self.fd()).collect()))),
            12 => Value::List((0..few).map(|_| self.value(deeper)).collect()),
            13 => Value::Pair(Box::new((self.value(deeper), self.fd(), self.value(deeper)))),
            14 => Value::Three([(); 3].map(|()| self.boxed(deeper))),
            15 => Value::Named((0..few).map(|it| (it.to_string(), self.value(deeper))).collect()),
            _ => Value::Numbered((0..few).map(|it| (it as i64, self.value(deeper))).collect()),
        }
    }
}

/// Sends a value from one end to the other.
fn pass(from: &Values, to: &Values, value: Value<Fd>) -> Value<Fd> {
    let Err(error) = from.try_send(value) else { return to.recv().expect("a value") };
    // It does not fit in at once, and somebody must read meanwhile.
    assert!(matches!(error.reason(), SendReason::Full), "{error:?}");
    thread::scope(|scope| {
        scope.spawn(|| from.send(error.into_inner()).expect("room"));
        to.recv_timeout(HANG).expect("a value")
    })
}

/// What the standard library and derives make of it.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Everything {
    nothing: (),
    nothings: Vec<()>,
    marker: PhantomData<String>,
    numbers: (u8, u16, u32, u64, u128, i8, i16, i32, i64, i128, f32, NonZeroU8),
    texts: (String, Box<str>, Cow<'static, str>, char, PathBuf),
    times: (Duration, std::ops::Range<u8>, IpAddr),
    results: [Result<u8, String>; 2],
    options: (Option<()>, Option<Option<u8>>),
    boxed: Option<Box<[u16]>>,
    keys: BTreeMap<(char, bool), HashMap<String, [u8; 3]>>,
    #[serde(skip)]
    skipped: Option<u8>,
    #[serde(rename = "other", default)]
    renamed: Unit,
    shapes: Vec<Shape>,
}

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Unit;

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Shape {
    Unit,
    Newtype(Unit),
    Tuple(u8, Bytes),
    Struct { one: Option<u8>, two: String },
}

fn everything() -> Everything {
    let one = NonZeroU8::new(7).expect("it is not 0");
    Everything {
        nothing: (),
        nothings: vec![(); 1000],
        marker: PhantomData,
        numbers: (1, 2, 3, u64::MAX, u128::MAX, -1, -2, -3, i64::MIN, i128::MIN, 0.5, one),
        texts: ("ä".into(), "ö".into(), "ü".into(), '\u{10ffff}', "/a/b".into()),
        times: (Duration::MAX, 1..9, IpAddr::from([127, 0, 0, 1])),
        results: [Ok(5), Err("no".into())],
        options: (Some(()), Some(None)),
        boxed: Some([1, 500].into()),
        keys: [(('x', true), [("k".to_owned(), [1, 2, 3])].into())].into(),
        skipped: None,
        renamed: Unit,
        shapes: vec![
            Shape::Unit,
            Shape::Newtype(Unit),
            Shape::Tuple(1, b"bytes".into()),
            Shape::Struct { one: Some(1), two: "two".into() },
        ],
    }
}

/// A descriptor that stands where it can be a key.
#[derive(Debug, Serialize, Deserialize)]
struct Key(Fd);

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Key {}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        identity(&self.0).cmp(&identity(&other.0))
    }
}

/// Serializes with whatever can take a number.
struct Shown(Fd);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.serialize(f)
    }
}

tests_of_engines! {
    fn twenty_thousand_random_values_arrive_as_they_were_sent() {
        let seed = fastrand::u64(..);
        let mut maker = Maker::new(seed);
        for (ours, theirs) in pairs::<Value<Fd>, Value<Fd>>() {
            for round in 0..10_000 {
                let value = maker.value(0);
                let seen = value.seen();
                let came = pass(&ours, &theirs, value);
                assert_eq!(came.seen(), seen, "seed {seed}, round {round}");
            }
        }
    }

    fn every_shape_of_serde_arrives() {
        for (ours, theirs) in pairs::<Everything, Everything>() {
            ours.send(everything()).expect("room");
            assert_eq!(theirs.recv().expect("everything"), everything());
            theirs.send(Everything { skipped: Some(1), ..everything() }).expect("room");
            assert_eq!(ours.recv().expect("everything"), everything());
        }
    }

    fn one_descriptor_may_be_named_twice_by_its_sender() {
        let fd = Fd::from(file_with(b"once"));
        let (a, b) = pair().expect("a pair");
        let post = Channel::<(&Fd, &Fd), ()>::from(a);
        let office = Channel::<(), (Fd, Fd)>::from(b);
        post.send((&fd, &fd)).expect("room");
        let (one, two) = office.recv().expect("two of them");
        assert_eq!((identity(&one), identity(&two)), (identity(&fd), identity(&fd)));
    }
}

tests_alone! {
    fn a_descriptor_may_be_a_key() {
        let (ours, theirs) = channel::<BTreeMap<Key, usize>, ()>().expect("a pair");
        #[expect(clippy::mutable_key_type, reason = "the order goes by something else")]
        let map: BTreeMap<_, _> =
            files(9, 0).into_iter().enumerate().map(|(at, fd)| (Key(fd.into()), at)).collect();
        let seen = |map: &BTreeMap<Key, usize>| -> Vec<_> {
            map.iter().map(|(key, at)| (identity(&key.0), *at)).collect()
        };
        ours.send(&map).expect("room");
        assert_eq!(seen(&theirs.recv().expect("a map")), seen(&map));
    }

    fn a_descriptor_travels_in_a_channel_and_nowhere_else() {
        let fd = Fd::from(file_with(b"x"));
        assert!(fmt::Write::write_fmt(&mut String::new(), format_args!("{}", Shown(fd))).is_err());
        let zero: serde::de::value::U32Deserializer<serde::de::value::Error> =
            0_u32.into_deserializer();
        let error = Fd::deserialize(zero).expect_err("nothing is received");
        assert!(error.to_string().contains("only inside"), "{error}");
    }
}

/// A structure with a part that says how many fields it has only when it is through.
#[derive(Debug, Serialize, Deserialize)]
struct Flat {
    fd: Option<Fd>,
    #[serde(flatten)]
    rest: BTreeMap<String, u8>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Untagged {
    Number(u8),
    Text(String),
}

tests_alone! {
    fn what_only_a_format_that_describes_itself_can_say_is_an_error() {
        let (ours, theirs) = channel::<Flat, ()>().expect("a pair");
        let fd = Fd::from(file_with(b"kept"));
        let flat = Flat { fd: Some(fd), rest: [("a".to_owned(), 1)].into() };
        let error = ours.send(flat).expect_err("no length");
        assert!(matches!(error.reason(), SendReason::Unencodable(_)), "{error:?}");
        assert!(error.into_inner().fd.is_some());
        assert!(matches!(theirs.try_recv(), Err(RecvError::Empty)));

        let (ours, theirs) = channel::<Untagged, ()>().expect("a pair");
        for value in [Untagged::Number(1), Untagged::Text("one".into())] {
            ours.send(value).expect("it has a form");
            let error = theirs.recv().expect_err("which one it is, nobody says");
            assert!(matches!(error, RecvError::Undecodable(_)), "{error:?}");
        }
    }
}
