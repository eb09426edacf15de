use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::thread;
use std::{fmt, fs};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use serde::de::{DeserializeOwned, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use streampipe::{Bytes, Channel, Fd, RawChannel, RecvError, SendReason, channel};

use crate::support::tests_alone;

/// How much stack a thread has in which values are decoded. (Optimized, these need 64 KiB.)
const STACK: usize = if cfg!(debug_assertions) { 512 << 10 } else { 256 << 10 };

/// How much memory a bomb may make this process take: the decoder's 1 MiB for a list that claims to be long.
const MEMORY: u64 = 32 << 20;

#[derive(Debug, Serialize, Deserialize)]
struct Chain(Option<Box<Chain>>);

#[derive(Debug, Serialize, Deserialize)]
struct Lists(Vec<Lists>);

#[derive(Debug, Serialize, Deserialize)]
struct Maps(HashMap<u8, Maps>);

#[derive(Debug, Serialize, Deserialize)]
enum Tree {
    Leaf,
    Newtype(Box<Tree>),
    Tuple(Box<Tree>, u8),
    Struct { inner: Box<Tree> },
}

#[derive(Debug, Serialize, Deserialize)]
enum Either {
    Result(Result<Box<Either>, u8>),
}

/// Takes as much memory at once as it is told there is.
struct Trusting;

impl<'de> Deserialize<'de> for Trusting {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Self)
    }
}

impl<'de> Visitor<'de> for Trusting {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a map")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
        let mut all = Vec::with_capacity(map.size_hint().unwrap_or_default());
        while let Some(entry) = map.next_entry::<u64, u64>()? {
            all.push(entry);
        }
        Ok(self)
    }
}

/// Something of all there is, many of it large.
#[derive(Debug, Serialize, Deserialize)]
enum Rich {
    Unit,
    Numbers(u8, u16, u64, i128, f32, char, bool),
    Text(String),
    Bytes(Bytes),
    List(Vec<Rich>),
    Queue(VecDeque<(u64, [u32; 4])>),
    Nothings(Vec<()>),
    Set(BTreeSet<(u8, Option<bool>)>),
    Map(BTreeMap<String, Rich>),
    Fds { some: Vec<Fd>, one: Option<Fd> },
    Channel(Box<Channel<Rich, Rich>>),
    Result(Result<Box<Rich>, Box<Rich>>),
}

/// Sends bytes that are to be a `T`; what comes of them.
fn decoded<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, RecvError> {
    let (ours, theirs) = streampipe::pair().expect("a pair");
    let (ours, theirs) = (RawChannel::from(ours), Channel::<(), T>::from(theirs));
    thread::scope(|scope| {
        scope.spawn(|| ours.send(bytes, &[]).expect("room"));
        theirs.recv()
    })
}

fn is_refused<T: DeserializeOwned>(bytes: &[u8], what: &str) {
    match decoded::<T>(bytes) {
        Err(RecvError::Undecodable(_)) => {}
        Err(error) => panic!("{what}: {error}"),
        Ok(_) => panic!("{what}: it was taken"),
    }
}

/// Runs it with little stack.
fn on_a_small_stack(run: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let thread = thread::Builder::new().stack_size(STACK).spawn_scoped(scope, run);
        thread.expect("a thread").join().expect("no panic");
    });
}

/// Runs it with little memory beyond what there is; without any, the process aborts.
fn in_little_memory(run: impl FnOnce()) {
    let status = fs::read_to_string("/proc/self/status").expect("/proc is mounted");
    let size = status.lines().find_map(|line| line.strip_prefix("VmSize:")).expect("a size");
    let kib = size.trim().strip_suffix(" kB").and_then(|it| it.parse::<u64>().ok());
    let most = kib.map(|kib| (kib << 10) + MEMORY);
    let before = getrlimit(Resource::As);
    setrlimit(Resource::As, Rlimit { current: most, ..before }).expect("a lower limit");
    run();
    setrlimit(Resource::As, before).expect("the old limit");
}

/// A length as it is encoded.
fn length(mut length: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while length > 127 {
        bytes.push(length as u8 | 128);
        length >>= 7;
    }
    bytes.push(length as u8);
    bytes
}

/// Bytes that are now and then what begins a value.
fn random_bytes(random: &mut fastrand::Rng) -> Vec<u8> {
    let most = if random.u8(..50) == 0 { 5000 } else { 40 };
    let len = random.usize(..most);
    let below = random.choice([13, 13, 3, 255]).expect("there are some");
    let mut bytes: Vec<u8> = (0..len).map(|_| random.u8(..=below)).collect();
    if random.bool() && !bytes.is_empty() {
        let at = random.usize(..bytes.len());
        let claim = length(1 << random.u32(..64));
        bytes.splice(at..at, claim);
    }
    bytes
}

tests_alone! {
    fn a_million_levels_are_an_error_on_a_small_stack() {
        on_a_small_stack(|| {
            is_refused::<Chain>(&[1; 1_000_000], "options");
            is_refused::<Lists>(&[1; 1_000_000], "lists");
            is_refused::<Maps>(&[1; 1_000_000], "maps");
            for (variant, what) in [(1, "newtypes"), (2, "tuples"), (3, "structures")] {
                is_refused::<Tree>(&vec![variant; 1_000_000], what);
            }
            is_refused::<Either>(&[0; 1_000_000], "results");
        });
    }

    fn a_hundred_levels_are_none() {
        on_a_small_stack(|| {
            let mut chain = [1; 61];
            chain[60] = 0;
            assert!(decoded::<Chain>(&chain).is_ok());
            let mut tree = [1; 101];
            tree[100] = 0;
            assert!(decoded::<Tree>(&tree).is_ok());
        });
    }

    fn a_sender_learns_that_a_value_is_too_deep() {
        let (ours, theirs) = channel::<Tree, ()>().expect("a pair");
        let deep = |levels| (0..levels).fold(Tree::Leaf, |tree, _| Tree::Newtype(Box::new(tree)));
        ours.send(deep(127)).expect("as deep as may be");
        drop(theirs);
        let error = ours.send(deep(129)).expect_err("too deep");
        let SendReason::Unencodable(why) = error.reason() else { panic!("{error:?}") };
        assert_eq!(why.to_string(), "a value nested deeper than 128");
    }

    fn claims_take_neither_memory_nor_time() {
        let claim = |count| [length(count), vec![0; 64]].concat();
        in_little_memory(|| {
            for count in [1 << 20, 1 << 32, 1 << 60, u64::MAX] {
                let bytes = claim(count);
                is_refused::<Vec<u64>>(&bytes, "numbers");
                is_refused::<Vec<[u64; 32]>>(&bytes, "arrays");
                is_refused::<Vec<()>>(&bytes, "nothings");
                is_refused::<VecDeque<((), [(); 4])>>(&bytes, "nothings of nothings");
                is_refused::<BTreeSet<u32>>(&bytes, "a set");
                is_refused::<HashMap<(), ()>>(&bytes, "a map of nothings");
                is_refused::<HashMap<u64, [u64; 32]>>(&bytes, "a map");
                is_refused::<Trusting>(&bytes, "a map that trusts");
                is_refused::<String>(&bytes, "a text");
                is_refused::<Bytes>(&bytes, "bytes");
                is_refused::<Vec<Fd>>(&bytes, "descriptors");
                is_refused::<Rich>(&[vec![6], bytes].concat(), "nothings in an enum");
            }
            let nested: Vec<u8> = (0..2000).flat_map(|_| length(1 << 13)).collect();
            is_refused::<Lists>(&nested, "lists of lists");
            is_refused::<Vec<Vec<Vec<Vec<u64>>>>>(&nested, "lists of lists of lists");
        });
    }

    fn random_bytes_are_a_value_or_an_error() {
        let seed = fastrand::u64(..);
        let (ours, theirs) = RawChannel::pair().expect("a pair");
        let theirs = Channel::<Rich, Rich>::from(theirs);
        let mut counts = [0; 2];
        on_a_small_stack(|| {
            let mut random = fastrand::Rng::with_seed(seed);
            for round in 0..100_000 {
                let bytes = random_bytes(&mut random);
                ours.send(&bytes, &[]).expect("room");
                match theirs.recv() {
                    Ok(value) => {
                        counts[0] += 1;
                        theirs.send(&value).expect("what was decoded can be encoded");
                        ours.recv().expect("it came");
                    }
                    Err(RecvError::Undecodable(_)) => counts[1] += 1,
                    Err(error) => panic!("seed {seed}, round {round}: {error}"),
                }
            }
        });
        assert!(counts.iter().all(|&count| count > 100), "{counts:?} of one kind only");
    }
}
