//! Positions, capacities and arms, beside definitions that are plain and slow.

use std::collections::VecDeque;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use streampipe_ring::position::{advanced, crossed};
use streampipe_ring::{Arm, Capacity, Consumer, Corrupt, Mark, Overrun, Producer, Sleep, View};

use crate::memory::Control;

const CAPACITY: u64 = 4096;

/// Where every number of 8 bits is tried; some of them where that takes a thousand times as long.
fn bytes() -> impl Iterator<Item = u8> {
    (0..=u8::MAX).step_by(if cfg!(miri) { 85 } else { 1 })
}

// --- positions ---

#[test]
fn crossed_is_what_a_walk_passes() {
    for old in bytes() {
        // What a walk from `old` has passed, step by step.
        let mut passed = [false; 256];
        for length in 0..=u8::MAX {
            let new = old.wrapping_add(length);
            for at in bytes() {
                assert_eq!(crossed(at, old, new), passed[usize::from(at)], "{at} {old} {new}");
            }
            passed[usize::from(new)] = true;
        }
    }
}

#[test]
fn advanced_is_how_far_a_walk_went() {
    for seen in bytes() {
        // How far each place is on a walk from `seen` to `limit`.
        let mut reached = [None; 256];
        for length in 0..=u8::MAX {
            let limit = seen.wrapping_add(length);
            reached[usize::from(limit)] = Some(length);
            for new in bytes() {
                let expected = reached[usize::from(new)];
                assert_eq!(advanced(seen, new, limit), expected, "{seen} {new} {limit}");
            }
        }
    }
}

#[test]
fn positions_of_64_bits_are_as_those_of_8() {
    let mut random = fastrand::Rng::with_seed(1);
    for _ in 0..if cfg!(miri) { 1000 } else { 1_000_000 } {
        let start = random.u64(..);
        let [at, old, new] = [0; 3].map(|_| random.u8(..));
        // The same distances, at another scale.
        let far = |position: u8| start.wrapping_add(u64::from(position) << 56);
        assert_eq!(crossed(far(at), far(old), far(new)), crossed(at, old, new), "{at} {old} {new}");
        let expected = advanced(at, old, new).map(|by| u64::from(by) << 56);
        assert_eq!(advanced(far(at), far(old), far(new)), expected, "{at} {old} {new}");
    }
}

// --- capacities ---

#[test]
fn a_capacity_is_a_power_of_two_from_a_page_to_a_gibibyte() {
    assert_eq!((Capacity::LEAST.bytes(), Capacity::MOST.bytes()), (4096, 1 << 30));
    for power in 0..64 {
        let bytes = 1_u64 << power;
        let capacity = Capacity::exactly(bytes);
        assert_eq!(capacity.map(Capacity::bytes), (12..=30).contains(&power).then_some(bytes));
        for other in [bytes - 1, bytes + 1].into_iter().filter(|it| !it.is_power_of_two()) {
            assert_eq!(Capacity::exactly(other), None, "{other}");
        }
    }
    assert_eq!(Capacity::exactly(u64::MAX), None);
}

#[test]
fn a_capacity_holds_what_is_asked_for_and_less_than_twice_that() {
    let holding = |bytes| Capacity::holding(bytes).map(Capacity::bytes);
    assert_eq!(holding(0), None);
    assert_eq!([1, 4095, 4096].map(holding), [Some(4096); 3]);
    for power in 12..30 {
        let bytes = 1_usize << power;
        let expected = [bytes, 2 * bytes, 2 * bytes].map(|it| Some(it as u64));
        assert_eq!([bytes, bytes + 1, 2 * bytes - 1].map(holding), expected);
    }
    assert_eq!(holding(1 << 30), Some(1 << 30));
    assert_eq!([(1 << 30) + 1, usize::MAX / 2 + 2, usize::MAX].map(holding), [None; 3]);
}

// --- arms ---

#[test]
fn an_arm_survives_its_word_but_for_two_bits() {
    let most = (1 << 62) - 1;
    for at in [0, 1, 2, 3, 4096, most - 1, most, most + 1, 1 << 63, u64::MAX] {
        for sleep in [Sleep::OnFutex, Sleep::AtLifeline] {
            let arm = Arm { at, sleep };
            let expected = Arm { at: at & most, sleep };
            assert_eq!(Arm::from_word(arm.to_word()), Some(expected));
            assert_eq!(expected.to_word(), arm.to_word());
        }
    }
}

#[test]
fn of_the_four_kinds_of_arm_two_are_nobody() {
    for at in [0, 1, (1 << 62) - 1] {
        let kinds = [0, 1, 2, 3].map(|kind| Arm::from_word(at << 2 | kind).map(|arm| arm.sleep));
        assert_eq!(kinds, [None, Some(Sleep::OnFutex), Some(Sleep::AtLifeline), None]);
    }
}

// --- both sides ---

/// Both sides of a ring, its bytes, and a queue that says what must come of it.
struct Ring {
    controls: [Control<AtomicU64>; 2],
    producer: Producer,
    consumer: Consumer,
    bytes: Vec<u8>,
    next: u8,
    queue: VecDeque<u8>,
    /// Who sleeps, by the position that must be passed, and was not woken for it.
    reader: Option<Arm>,
    writer: Option<Arm>,
}

impl Ring {
    /// An empty ring that has come as far as this.
    fn at(start: u64) -> Self {
        let mut ring = Self {
            controls: Default::default(),
            producer: Producer::new(Capacity::LEAST),
            consumer: Consumer::new(Capacity::LEAST),
            bytes: vec![0; CAPACITY as usize],
            next: 0,
            queue: VecDeque::new(),
            reader: None,
            writer: None,
        };
        // As if forked on the way: nobody follows half around the numbers at once.
        for position in [start / 2, start] {
            ring.controls[0].tail.store(position, Relaxed);
            ring.controls[1].head.store(position, Relaxed);
            ring.resume();
        }
        ring
    }

    fn resume(&mut self) {
        let [one, other] = &self.controls;
        let _ = self.producer.resume(&one.view(other)).unwrap();
        let _ = self.consumer.resume(&other.view(one)).unwrap();
    }

    fn writing(&self) -> View<'_, AtomicU64> {
        self.controls[0].view(&self.controls[1])
    }

    fn reading(&self) -> View<'_, AtomicU64> {
        self.controls[1].view(&self.controls[0])
    }

    fn write(&mut self, wanted: u64) {
        let [one, other] = &self.controls;
        let view = one.view(other);
        let free = CAPACITY - self.queue.len() as u64;
        let space = self.producer.space(wanted, &view).unwrap();
        assert!(space == free || (wanted..free).contains(&space), "{space} of {free}, {wanted}");
        let len = wanted.min(space);
        let old = self.producer.tail();
        for at in 0..len {
            self.next = self.next.wrapping_add(1);
            self.bytes[((old.wrapping_add(at)) % CAPACITY) as usize] = self.next;
            self.queue.push_back(self.next);
        }
        let woken = self.producer.publish(len, &view).unwrap();
        let passed = self.reader.take_if(|arm| arm.at.wrapping_sub(old) < len);
        assert_eq!(woken, passed.map(|arm| arm.sleep), "from {old} by {len}");
    }

    fn read(&mut self, wanted: u64) {
        let [one, other] = &self.controls;
        let view = other.view(one);
        let there = self.queue.len() as u64;
        let available = self.consumer.available(wanted, &view).unwrap();
        let is_enough = available >= wanted.max(1) && available < there;
        assert!(available == there || is_enough, "{available} of {there}, {wanted} wanted");
        let len = wanted.min(available);
        let old = self.consumer.head();
        for at in 0..len {
            let byte = self.bytes[(old.wrapping_add(at) % CAPACITY) as usize];
            assert_eq!(Some(byte), self.queue.pop_front());
        }
        let woken = self.consumer.release(len, &view).unwrap();
        let passed = self.writer.take_if(|arm| arm.at.wrapping_sub(old) < len);
        assert_eq!(woken, passed.map(|arm| arm.sleep), "from {old} by {len}");
    }

    /// Who sleeps looks once more before, and so does this: it sleeps only where there is nothing.
    fn sleep_reading(&mut self, sleep: Sleep) {
        if self.queue.is_empty() {
            self.read(0);
            self.consumer.arm(sleep, &self.reading());
            self.reader = Some(Arm { at: self.consumer.head(), sleep });
        }
    }

    fn sleep_writing(&mut self, wanted: u64, sleep: Sleep) {
        let [one, other] = &self.controls;
        let free = self.producer.space(wanted, &one.view(other)).unwrap();
        if free < wanted {
            self.producer.arm(wanted, sleep, &self.writing());
            let least = wanted.clamp(CAPACITY / 4, CAPACITY);
            let at = self.producer.tail().wrapping_add(least).wrapping_sub(CAPACITY + 1);
            self.writer = Some(Arm { at, sleep });
        }
    }

    fn step(&mut self, step: usize) {
        match step {
            0 => self.write(1),
            1 => self.write(CAPACITY / 2 - 1),
            2 => self.write(CAPACITY),
            3 => self.read(1),
            4 => self.read(CAPACITY / 8 - 1),
            5 => self.read(CAPACITY),
            6 => self.sleep_reading(Sleep::OnFutex),
            7 => self.sleep_writing(1, Sleep::AtLifeline),
            _ => self.sleep_writing(CAPACITY - 1, Sleep::OnFutex),
        }
    }
}

/// Where numbers of 64 bits, and arms of 62, begin again.
const STARTS: [u64; 4] =
    [0, (1 << 62) - CAPACITY / 2, (1 << 63) - CAPACITY / 2, 0_u64.wrapping_sub(CAPACITY / 2)];

#[test]
#[cfg_attr(miri, ignore = "a minute there")]
fn all_short_sequences_of_steps_are_as_of_a_queue() {
    for (start, length) in STARTS.into_iter().zip([3, 3, 3, 4]) {
        for number in 0..9_usize.pow(length) {
            let mut ring = Ring::at(start);
            // From full as well as from empty.
            ring.write(CAPACITY * (number as u64 % 2));
            (0..length).fold(number, |left, _| {
                ring.step(left % 9);
                left / 9
            });
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "a minute there")]
fn long_sequences_of_steps_are_as_of_a_queue() {
    let mut random = fastrand::Rng::with_seed(2);
    for start in STARTS {
        let mut ring = Ring::at(start);
        for _ in 0..20_000 {
            let sleep = if random.bool() { Sleep::OnFutex } else { Sleep::AtLifeline };
            let power = random.u32(0..=12);
            let some = random.u64(0..=CAPACITY >> power);
            match random.u8(0..8) {
                0..=2 => ring.write(some),
                3..=5 => ring.read(some),
                6 => ring.sleep_reading(sleep),
                _ => ring.sleep_writing(some.max(1), sleep),
            }
        }
    }
}

#[test]
#[cfg_attr(miri, ignore = "a minute there")]
fn a_fork_goes_on_where_the_other_process_stopped() {
    for start in STARTS {
        let mut ring = Ring::at(start);
        let parent = (ring.producer.clone(), ring.consumer.clone());
        ring.write(1000);
        ring.read(600);
        // The parent, after its child; then the child, after it.
        let child = (ring.producer.clone(), ring.consumer.clone());
        for (producer, consumer) in [parent, child] {
            (ring.producer, ring.consumer) = (producer, consumer);
            ring.resume();
            assert_eq!(ring.producer.free(), CAPACITY - ring.queue.len() as u64);
            ring.write(700);
            ring.read(500);
            ring.read(50);
        }
    }
}

#[test]
fn what_was_announced_is_counted_until_it_is_taken() {
    let mut ring = Ring::at(0);
    let [one, other] = &ring.controls;
    let (writing, reading) = (one.view(other), other.view(one));
    ring.producer.note_batch(&writing);
    let _ = ring.producer.publish(1, &writing).unwrap();
    ring.producer.note_batch(&writing);
    assert_eq!(ring.consumer.batches_left(), 0);
    assert_eq!(ring.consumer.available(1, &reading), Ok(1));
    assert_eq!((ring.consumer.batches_left(), ring.consumer.taken()), (2, 0));
    ring.consumer.note_taken(&reading);
    assert_eq!((ring.consumer.batches_left(), ring.consumer.taken()), (1, 1));
    let _ = ring.consumer.release(1, &reading).unwrap();
    let mut fork = Consumer::new(Capacity::LEAST);
    fork.resume(&reading).unwrap();
    assert_eq!((fork.batches_left(), fork.taken()), (1, 1));
}

// --- steps that are too large ---

/// In every build: without these errors, a ring of 4 KiB takes bytes that nobody reads, and gives bytes that nobody wrote.
#[test]
fn a_step_beyond_what_is_free_or_there_is_refused_and_changes_nothing() {
    for start in STARTS {
        for written in [0, 1, 100, CAPACITY - 1, CAPACITY] {
            let mut ring = Ring::at(start);
            ring.write(written);
            ring.read(0);
            let (tail, head) = (ring.producer.tail(), ring.consumer.head());
            let (free, there) = (CAPACITY - written, written);
            for beyond in [1, 2, CAPACITY, 1 << 62, u64::MAX - CAPACITY] {
                let (bytes, most) = (free + beyond, free);
                let refused = ring.producer.clone().publish(bytes, &ring.writing());
                assert_eq!(refused, Err(Overrun { bytes, most }));
                let (bytes, most) = (there + beyond, there);
                let refused = ring.consumer.clone().release(bytes, &ring.reading());
                assert_eq!(refused, Err(Overrun { bytes, most }));
            }
            assert_eq!(ring.controls[0].tail.load(Relaxed), tail);
            assert_eq!(ring.controls[1].head.load(Relaxed), head);
            ring.read(CAPACITY);
            ring.write(CAPACITY);
        }
    }
    let text = Overrun { bytes: 5000, most: 4096 }.to_string();
    assert_eq!(text, "a step of 5000 bytes, where 4096 are possible");
}

/// What a peer said before, it cannot take back where somebody goes on for another process.
#[test]
fn who_takes_over_from_another_process_believes_no_position_that_went_back() {
    for start in STARTS {
        let mut ring = Ring::at(start);
        ring.write(1000);
        ring.read(600);
        ring.write(10);
        let (tail, head) = (ring.producer.tail(), ring.consumer.head());
        ring.producer.look(&ring.controls[0].view(&ring.controls[1])).unwrap();
        let seen = tail.wrapping_sub(10);
        for back in [1, 300, 1000, 1 << 62] {
            ring.controls[0].tail.store(seen.wrapping_sub(back), Relaxed);
            let error = ring.consumer.clone().resume(&ring.reading()).unwrap_err();
            let possible = (seen, head.wrapping_add(CAPACITY));
            assert_eq!(error, Corrupt::Tail { claimed: seen.wrapping_sub(back), possible });
        }
        ring.controls[0].tail.store(tail, Relaxed);
        for back in [1, 300, 1000, 1 << 62] {
            ring.controls[1].head.store(head.wrapping_sub(back), Relaxed);
            let error = ring.producer.clone().resume(&ring.writing()).unwrap_err();
            let possible = (head, tail);
            assert_eq!(error, Corrupt::Head { claimed: head.wrapping_sub(back), possible });
        }
        ring.controls[1].head.store(head, Relaxed);
        ring.resume();
        ring.read(CAPACITY);
    }
}

// --- who goes on for one that was killed between two steps ---

#[test]
fn whoever_goes_on_wakes_who_was_left_asleep() {
    for sleep in [Sleep::OnFutex, Sleep::AtLifeline] {
        for start in STARTS {
            let mut ring = Ring::at(start);
            ring.sleep_reading(sleep);
            let mut parent = ring.producer.clone();
            assert!(!parent.is_left_behind(&ring.writing()));
            // The child publishes, and is killed in front of the doorbell.
            let _ = ring.producer.publish(100, &ring.controls[0].view(&ring.controls[1])).unwrap();
            assert!(parent.is_left_behind(&ring.writing()));
            assert_eq!(parent.resume(&ring.writing()), Ok(Some(sleep)));

            let mut ring = Ring::at(start);
            ring.write(CAPACITY);
            ring.sleep_writing(1, sleep);
            let mut parent = ring.consumer.clone();
            ring.consumer.look(&ring.controls[1].view(&ring.controls[0])).unwrap();
            let _ = ring.consumer.release(CAPACITY, &ring.controls[1].view(&ring.controls[0]));
            assert!(parent.is_left_behind(&ring.reading()));
            assert_eq!(parent.resume(&ring.reading()), Ok(Some(sleep)));
        }
    }
}

#[test]
fn a_batch_whose_bytes_were_not_published_is_taken_back() {
    for start in STARTS {
        let mut ring = Ring::at(start);
        let [one, other] = &ring.controls;
        let (writing, reading) = (one.view(other), other.view(one));
        let mut parent = ring.producer.clone();
        assert_eq!(ring.producer.begin_note(&writing), 1);
        ring.producer.note_batch(&writing);
        // The child is killed here.
        assert!(parent.is_left_behind(&writing));
        assert_eq!(parent.resume(&writing), Ok(None));
        assert!(!parent.is_left_behind(&writing));
        let _ = parent.publish(1, &writing).unwrap();
        assert_eq!(ring.consumer.available(1, &reading), Ok(1));
        assert_eq!(
            (ring.consumer.batches_left(), ring.consumer.next_mark(&reading)),
            (0, Ok(None))
        );
        // The next one has another number, and is named.
        assert_eq!(parent.begin_note(&writing), 2);
        parent.note_batch(&writing);
        let _ = parent.publish(1, &writing).unwrap();
        // One that was published stays.
        ring.producer.resume(&writing).unwrap();
        assert_eq!(ring.consumer.available(2, &reading), Ok(2));
        assert_eq!(ring.consumer.batches_left(), 1);
        let mark = ring.consumer.next_mark(&reading).unwrap().unwrap();
        assert_eq!((mark.number, mark.beyond(start)), (2, 1));
    }
}

#[test]
fn a_note_that_was_sent_and_not_noted_has_a_number_of_its_own() {
    let ring = Ring::at(0);
    let view = ring.writing();
    let (mut parent, mut child) = (ring.producer.clone(), ring.producer.clone());
    assert_eq!(child.begin_note(&view), 1);
    // The child is killed here; nothing else of it is to be seen.
    assert!(!parent.is_left_behind(&view));
    assert_eq!(parent.begin_note(&view), 2);
    parent.note_batch(&view);
    assert_eq!(Mark::from_word(ring.controls[0].marks[0].load(Relaxed)).number, 2);
}

/// There may be more attempts than there are numbers, while a note of somebody who was killed waits to be heard.
#[test]
fn a_note_that_was_not_sent_leaves_its_number_to_the_next() {
    let ring = Ring::at(0);
    let view = ring.writing();
    let (mut parent, mut child) = (ring.producer.clone(), ring.producer.clone());
    assert_eq!(child.begin_note(&view), 1);
    for _ in 0..=u16::MAX {
        assert_eq!(parent.begin_note(&view), 2);
        parent.cancel_note(&view);
    }
    assert_eq!(parent.begin_note(&view), 2);
    parent.note_batch(&view);
    assert_eq!(parent.begin_note(&view), 3);
}

#[test]
fn a_batch_that_was_taken_and_whose_bytes_were_not_read_is_lost() {
    for start in STARTS {
        let mut ring = Ring::at(start);
        let [one, other] = &ring.controls;
        let (writing, reading) = (one.view(other), other.view(one));
        for _ in 0..2 {
            ring.producer.begin_note(&writing);
            ring.producer.note_batch(&writing);
            let _ = ring.producer.publish(1, &writing).unwrap();
            let mut parent = ring.consumer.clone();
            ring.consumer.look(&reading).unwrap();
            let mut refuses = ring.consumer.clone();
            refuses.note_taken(&reading);
            parent.clone().resume(&reading).unwrap();
            assert!(!parent.is_next_lost(), "it was closed, and somebody was told");
            reading.own.taken.store(ring.consumer.taken(), Relaxed);
            ring.consumer.note_handed(&reading);
            // The child is killed here.
            for _ in 0..2 {
                parent.resume(&reading).unwrap();
                assert!(parent.is_next_lost());
                assert_eq!((parent.batches_left(), parent.known()), (1, 1));
            }
            parent.note_taken(&reading);
            assert!(!parent.is_next_lost() && !parent.is_left_behind(&reading));
            // It reads the byte, and one that goes on behind that is told of nothing.
            let _ = parent.release(1, &reading).unwrap();
            ring.consumer.resume(&reading).unwrap();
            assert!(!ring.consumer.is_next_lost());
        }
    }
}

#[test]
fn batches_that_cannot_be_are_told_in_numbers() {
    let mut ring = Ring::at(0);
    ring.write(1);
    let [one, other] = &ring.controls;
    one.batches.store(3, Relaxed);
    ring.consumer.look(&other.view(one)).unwrap();
    let corrupt = ring.consumer.next_mark(&other.view(one)).unwrap_err();
    assert_eq!(corrupt, Corrupt::Batches { claimed: 3, possible: (0, 2) });
    let text = "the peer claims to have sent 3 batches of descriptors, which must be 0 to 2";
    assert_eq!(corrupt.to_string(), text);
}

#[test]
fn a_mark_survives_its_word_but_for_the_highest_bits_of_the_position() {
    for position in [0, 1, 4096, (1 << 48) - 1, 1 << 48, (1 << 48) + 5, u64::MAX] {
        for number in [0, 1, u16::MAX] {
            let mark = Mark::new(position, number);
            assert_eq!(Mark::from_word(mark.to_word()), mark);
            assert_eq!((mark.number, mark.beyond(position)), (number, 0));
            assert_eq!(mark.beyond(position.wrapping_sub(7)), 7);
        }
    }
}

#[test]
fn notes_are_numbered_from_1_to_65535_and_again() {
    let ring = Ring::at(0);
    let mut producer = ring.producer.clone();
    let numbers = (0..70_000).map(|_| {
        let number = producer.begin_note(&ring.writing());
        producer.note_batch(&ring.writing());
        number
    });
    assert!(numbers.eq((1..=u16::MAX).cycle().take(70_000)));
}

#[test]
fn a_claim_that_cannot_be_is_told_in_numbers() {
    let mut ring = Ring::at(10_000);
    ring.write(100);
    let [one, other] = &ring.controls;
    one.tail.store(14_097, Relaxed);
    let corrupt = ring.consumer.look(&other.view(one)).unwrap_err();
    assert_eq!(corrupt, Corrupt::Tail { claimed: 14_097, possible: (10_000, 14_096) });
    let text = "the peer claims to have written 14097 bytes, which must be 10000 to 14096";
    assert_eq!(corrupt.to_string(), text);
    other.head.store(9_999, Relaxed);
    let corrupt = ring.producer.look(&one.view(other)).unwrap_err();
    assert_eq!(corrupt, Corrupt::Head { claimed: 9_999, possible: (10_000, 10_100) });
    let text = "the peer claims to have read 9999 bytes, which must be 10000 to 10100";
    assert_eq!(corrupt.to_string(), text);
}
