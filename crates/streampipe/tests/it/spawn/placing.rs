//! P11: any permutation, any number, each descriptor under the number it was given.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::process::{Resource, getrlimit};
use streampipe::{Command, SpawnStep, Stdio};

use super::helpers::{Traces, link_of, sh};
use crate::support::{self, tests_alone};

/// How many random mappings, and on how many threads.
const ROUNDS: usize = 10_000;
const THREADS: usize = 2;

/// The most descriptors of one mapping, besides the end.
const MOST: usize = 12;

/// Distinct files, and their paths.
struct Files {
    _at: tempfile::TempDir,
    open: Vec<(File, PathBuf)>,
}

impl Files {
    fn new() -> Self {
        let at = tempfile::tempdir().expect("a temporary directory");
        let real = at.path().canonicalize().expect("it is there");
        let open = (0..MOST).map(|index| {
            let path = real.join(index.to_string());
            (File::create(&path).expect("room"), path)
        });
        Self { open: open.collect(), _at: at }
    }
}

/// One mapping: which file goes from which number to which, in this order; and where the end goes.
struct Mapping {
    moves: Vec<(usize, i32, i32)>,
    end: i32,
}

impl Mapping {
    /// Targets are mostly numbers at which some source stands; never 1, where the child answers.
    fn random(random: &mut fastrand::Rng, sources: &[i32]) -> Self {
        let mut own = sources.to_vec();
        let mut others: Vec<i32> =
            (0..48).filter(|number| *number != 1 && !own.contains(number)).collect();
        random.shuffle(&mut own);
        random.shuffle(&mut others);
        let mut target = || match (random.u8(0..5), own.is_empty()) {
            (1.., false) => own.pop().expect("not empty"),
            _ => others.pop().expect("more than are needed"),
        };
        let targets: Vec<i32> = sources.iter().map(|_| target()).collect();
        let moves = sources.iter().zip(targets).enumerate();
        Self { moves: moves.map(|(index, (&from, to))| (index, from, to)).collect(), end: target() }
    }

    /// What stands under each number if every file goes where it belongs.
    fn right(&self) -> BTreeMap<i32, usize> {
        self.moves.iter().map(|&(file, _, to)| (to, file)).collect()
    }

    /// What stands there after one `dup2` after the other.
    fn naive(&self) -> BTreeMap<i32, usize> {
        let mut table: BTreeMap<i32, usize> =
            self.moves.iter().map(|&(file, from, _)| (from, file)).collect();
        for &(_, from, to) in &self.moves {
            let moved = table[&from];
            table.insert(to, moved);
        }
        table.retain(|number, _| self.moves.iter().any(|(_, _, to)| to == number));
        table
    }

    /// What the child says stands there; the files are given.
    fn in_child(&self, given: Vec<OwnedFd>) -> Vec<String> {
        let mut command = Command::new("readlink");
        for (fd, (_, _, to)) in given.into_iter().zip(&self.moves) {
            command.arg(format!("/proc/self/fd/{to}")).inherit(fd, *to);
        }
        command.arg(format!("/proc/self/fd/{}", self.end)).fd(self.end).stdout(Stdio::piped());
        let output = command.spawn().expect("it starts").wait_with_output().expect("a child");
        assert!(output.status.success(), "{:?} {}: {output:?}", self.moves, self.end);
        let text = String::from_utf8(output.stdout).expect("paths are text");
        text.lines().map(str::to_owned).collect()
    }
}

/// Checks some mappings; returns for how many of them the naive order would have been wrong.
fn check_mappings(files: &Files, seed: u64, rounds: usize) -> usize {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut naive_is_wrong = 0;
    for round in 0..rounds {
        let count = 1 + round % MOST;
        let copies = files.open[..count].iter().map(|(file, _)| file.try_clone().expect("a copy"));
        let given: Vec<OwnedFd> = copies.map(OwnedFd::from).collect();
        let sources: Vec<i32> = given.iter().map(AsRawFd::as_raw_fd).collect();
        let mapping = Mapping::random(&mut random, &sources);
        let said = mapping.in_child(given);
        let (end, said) = said.split_last().expect("one line each");
        for ((index, from, to), link) in mapping.moves.iter().zip(said) {
            let path = &files.open[*index].1;
            assert_eq!(Path::new(link), path, "{from} to {to} of {:?}", mapping.moves);
        }
        assert!(end.starts_with("socket:["), "{end} at {} of {:?}", mapping.end, mapping.moves);
        naive_is_wrong += usize::from(mapping.naive() != mapping.right());
    }
    naive_is_wrong
}

tests_alone! {
    fn ten_thousand_random_mappings_put_each_descriptor_where_it_belongs() {
        let files = Files::new();
        let naive_is_wrong: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..THREADS as u64)
                .map(|seed| {
                    let files = &files;
                    scope.spawn(move || check_mappings(files, seed, ROUNDS / THREADS))
                })
                .collect();
            threads.into_iter().map(|thread| thread.join().expect("no mapping is wrong")).sum()
        });
        // The control: these are not mappings that any order would get right.
        assert!(naive_is_wrong > ROUNDS / 2, "only {naive_is_wrong} of {ROUNDS} need care");
    }

    /// The control of the model: a swap, and a chain in each direction.
    fn the_naive_order_is_wrong_where_it_is_known_to_be() {
        let mapping = |moves: &[(usize, i32, i32)]| Mapping { moves: moves.to_vec(), end: 99 };
        let swap = mapping(&[(0, 5, 6), (1, 6, 5)]);
        assert_eq!(swap.naive(), BTreeMap::from([(5, 0), (6, 0)]));
        assert_eq!(swap.right(), BTreeMap::from([(5, 1), (6, 0)]));
        let pushed = mapping(&[(0, 5, 6), (1, 6, 7)]);
        assert_ne!(pushed.naive(), pushed.right());
        let pulled = mapping(&[(1, 6, 7), (0, 5, 6)]);
        assert_eq!(pulled.naive(), pulled.right());
    }

    fn every_rotation_of_twelve_is_right() {
        let files = Files::new();
        for by in 0..MOST {
            let copies = files.open.iter().map(|(file, _)| file.try_clone().unwrap());
            let given: Vec<OwnedFd> = copies.map(OwnedFd::from).collect();
            let sources: Vec<i32> = given.iter().map(AsRawFd::as_raw_fd).collect();
            let moves = sources.iter().enumerate();
            let moves = moves.map(|(at, &from)| (at, from, sources[(at + by) % MOST])).collect();
            let said = Mapping { moves, end: 60 }.in_child(given);
            for ((_, path), link) in files.open.iter().zip(&said) {
                assert_eq!(Path::new(link), path, "rotated by {by}");
            }
        }
    }

    fn a_descriptor_may_stay_under_its_number() {
        for _ in 0..20 {
            let file = support::file_with(b"");
            let (number, link) = (file.as_raw_fd(), link_of(&file));
            let output = Command::new("readlink")
                .arg(format!("/proc/self/fd/{number}"))
                .inherit(file, number)
                .fd(60)
                .output()
                .unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), link);
        }
    }

    /// Whatever stands under the number here, in this process it goes on standing there.
    fn a_number_that_this_process_uses_is_as_good_as_any() {
        let (ours, theirs) = streampipe::pair().unwrap();
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let before = Traces::before();
        let listing = fs::read_dir("/proc/self/fd").unwrap();
        let used: Vec<i32> = listing
            .map(|entry| entry.unwrap().file_name().to_string_lossy().parse().unwrap())
            .collect();
        assert!(used.len() > 6, "{used:?}");
        for number in used.into_iter().filter(|number| *number != 1) {
            let file = support::file_with(b"");
            let link = link_of(&file);
            let output = Command::new("readlink")
                .arg(format!("/proc/self/fd/{number}"))
                .inherit(file, number)
                .fd(60)
                .stdout(Stdio::piped())
                .spawn()
                .expect("it starts")
                .wait_with_output()
                .unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), link, "at {number}");
            assert_eq!(before.left(), None);
        }
        drop((ours, theirs, listener));
    }

    fn the_highest_number_works_and_the_next_one_is_an_error() {
        let limit = getrlimit(Resource::Nofile).current.expect("there is a limit");
        let limit = i32::try_from(limit).expect("a small limit");
        let file = support::file_with(b"");
        let link = link_of(&file);
        for count in [1, 2] {
            // With the end in a cycle's place at the top, too.
            let highest = limit - count;
            let mut command = Command::new("readlink");
            command.arg(format!("/proc/self/fd/{highest}")).inherit(&file, highest);
            command.fd(if count == 2 { limit - 1 } else { 3 });
            let output = command.output().unwrap();
            assert_eq!(String::from_utf8_lossy(&output.stdout).trim_end(), link);
        }
        let before = Traces::before();
        for number in [limit, limit + 1, i32::MAX] {
            let error = Command::new("true").fd(number).spawn().unwrap_err();
            assert_eq!((error.step(), error.raw_os_error()), (SpawnStep::Descriptors, Some(9)));
            let error = Command::new("true").inherit(&file, number).spawn().unwrap_err();
            assert_eq!((error.step(), error.raw_os_error()), (SpawnStep::Descriptors, Some(9)));
        }
        assert_eq!(before.left(), None);
    }

    fn two_things_under_one_number_are_an_error() {
        let file = support::file_with(b"");
        let before = Traces::before();
        let arrangements: [fn(&mut Command, &File); 10] = [
            |it, file| { it.inherit(file, 3); },
            |it, file| { it.fd(9).inherit(file, 9); },
            |it, file| { it.inherit(file, 8).inherit(file, 8); },
            |it, file| { it.stdin(file).inherit(file, 0); },
            |it, file| { it.stderr(Stdio::null()).inherit(file, 2); },
            |it, _| { it.stdin(Stdio::piped()).fd(0); },
            |it, _| { it.stdout(Stdio::null()).fd(1); },
            |it, _| { it.on_stdio().stdin(Stdio::null()); },
            |it, file| { it.on_stdio_socket().stdout(file); },
            |it, file| { it.on_stdio().inherit(file, 1); },
        ];
        for (index, arrange) in arrangements.into_iter().enumerate() {
            let mut command = Command::new("true");
            arrange(&mut command, &file);
            let error = command.spawn().expect_err(&format!("arrangement {index}"));
            assert_eq!(error.step(), SpawnStep::Describe, "{index}: {error}");
            assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput, "{index}: {error}");
        }
        assert_eq!(before.left(), None);
        // The control: what is left to the parent's own is not placed, so nothing is there twice.
        let mut command = sh("exit 0");
        command.stdin(Stdio::inherit()).inherit(&file, 0);
        assert!(command.status().unwrap().success());
    }

    fn a_negative_number_is_an_error() {
        let before = Traces::before();
        for number in [-1, -2, i32::MIN] {
            let error = Command::new("true").fd(number).spawn().unwrap_err();
            assert_eq!(error.step(), SpawnStep::Describe, "{error}");
            let error =
                Command::new("true").inherit(std::io::stderr(), number).spawn().unwrap_err();
            assert_eq!(error.step(), SpawnStep::Describe, "{error}");
            assert!(error.to_string().contains(&number.to_string()), "{error}");
        }
        assert_eq!(before.left(), None);
    }
}
