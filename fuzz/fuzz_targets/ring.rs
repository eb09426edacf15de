//! Arbitrary bytes as what a peer writes into its words, and as what we do in between.
//!
//! Against a model that is plain: what is available or free is never more than the ring has, positions never go back, and a
//! word that cannot be is told as such; nothing is read at an offset outside of the ring, which the region would panic at.

#![no_main]

use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering::Relaxed;

use libfuzzer_sys::fuzz_target;
use streampipe_ring::{
    Arm, Capacity, Consumer, Half, Outlook, Producer, Sleep, Sleepers, View, Words, closings, end,
    note_closing,
};
use streampipe_sys::region::{Control, Owner, Region};

const CAPACITY: usize = 4096;

thread_local! {
    static REGION: Region = Region::create(CAPACITY).expect("a region").0;
}

fuzz_target!(|data: &[u8]| {
    REGION.with(|region| {
        for owner in [Owner::First, Owner::Second] {
            each_word(region.control(owner)).iter().for_each(|word| word.store(0, Relaxed));
        }
        Victim::new(region).suffer(data);
    });
});

struct Victim<'region> {
    region: &'region Region,
    producer: Producer,
    consumer: Consumer,
    /// How far we have come, by our own count.
    written: u64,
    read: u64,
    /// How far the peer was believed to have come.
    heard: u64,
    acknowledged: u64,
}

impl<'region> Victim<'region> {
    fn new(region: &'region Region) -> Self {
        let capacity = Capacity::holding(CAPACITY).expect("a page");
        let (producer, consumer) = (Producer::new(capacity), Consumer::new(capacity));
        Self { region, producer, consumer, written: 0, read: 0, heard: 0, acknowledged: 0 }
    }

    fn view(&self) -> View<'region, AtomicU64> {
        let [own, peer] = [Owner::First, Owner::Second].map(|it| words(self.region.control(it)));
        View { own, peer }
    }

    /// Each step: what, which, and how much.
    fn suffer(&mut self, data: &[u8]) {
        for step in data.chunks_exact(10) {
            let number = u64::from_le_bytes(step[2..].try_into().expect("eight bytes"));
            match step[0] % 16 {
                // The peer writes a word of its own, or of ours: anything, or something near.
                0..=5 => self.scribble(step[0], step[1], number),
                6..=8 => self.read(number),
                9..=11 => self.write(number),
                12 => self.take(),
                13 => self.arm(number),
                14 => self.look(number),
                _ => self.resume(),
            }
        }
    }

    fn scribble(&self, how: u8, which: u8, number: u64) {
        let owner = if how % 6 == 0 { Owner::First } else { Owner::Second };
        let words = each_word(self.region.control(owner));
        let word = words[usize::from(which) % words.len()];
        let near = number % (2 * CAPACITY as u64);
        word.store(
            match how % 6 {
                0 | 1 => number,
                2 => self.written.wrapping_sub(near),
                3 => self.read.wrapping_add(near),
                4 => word.load(Relaxed).wrapping_add(near),
                _ => near,
            },
            Relaxed,
        );
    }

    fn read(&mut self, number: u64) {
        let view = self.view();
        let claimed = view.peer.tail.load(Relaxed);
        let was_empty = self.heard == self.read;
        match self.consumer.available(1, &view) {
            Ok(available) => {
                assert!(available <= CAPACITY as u64);
                if was_empty {
                    assert!(claimed.wrapping_sub(self.read) <= CAPACITY as u64);
                    self.heard = claimed;
                }
                assert_eq!(available, self.heard.wrapping_sub(self.read));
                let some = number % (available + 1);
                let mut bytes = vec![0; some as usize];
                self.region.read(Owner::Second, self.consumer.head(), &mut bytes);
                let _ = self.consumer.release(some, &view).expect("no more than is there");
                let more = self.consumer.known() + 1;
                self.consumer.release(more, &view).expect_err("more than is there");
                self.read = self.read.wrapping_add(some);
                assert_eq!(view.own.head.load(Relaxed), self.read);
            }
            Err(_) => {
                assert!(was_empty && claimed.wrapping_sub(self.read) > CAPACITY as u64);
            }
        }
        assert_eq!(self.consumer.head(), self.read);
    }

    fn write(&mut self, number: u64) {
        let view = self.view();
        let claimed = view.peer.head.load(Relaxed);
        let wanted = 1 + number % CAPACITY as u64;
        let free =
            |victim: &Self| CAPACITY as u64 - victim.written.wrapping_sub(victim.acknowledged);
        let must_look = free(self) < wanted;
        let is_possible =
            claimed.wrapping_sub(self.acknowledged) <= self.written.wrapping_sub(self.acknowledged);
        match self.producer.space(wanted, &view) {
            Ok(space) => {
                if must_look {
                    assert!(is_possible);
                    self.acknowledged = claimed;
                }
                assert_eq!(space, free(self));
                let some = wanted.min(space);
                self.region.write(Owner::First, self.producer.tail(), &vec![7; some as usize]);
                let _ = self.producer.publish(some, &view).expect("no more than is free");
                let more = self.producer.free() + 1;
                self.producer.publish(more, &view).expect_err("more than is free");
                self.written = self.written.wrapping_add(some);
                assert_eq!(view.own.tail.load(Relaxed), self.written);
            }
            Err(_) => assert!(must_look && !is_possible),
        }
        assert_eq!(self.producer.tail(), self.written);
    }

    fn take(&mut self) {
        let view = self.view();
        if self.consumer.batches_left() > 0 {
            let taken = self.consumer.taken();
            self.consumer.note_handed(&view);
            assert_eq!(self.consumer.taken(), taken.wrapping_add(1));
        }
        assert_ne!(self.producer.begin_note(&view), 0);
        self.producer.note_batch(&view);
    }

    fn arm(&mut self, number: u64) {
        let view = self.view();
        let sleep = if number & 1 == 0 { Sleep::OnFutex } else { Sleep::AtLifeline };
        self.consumer.arm(sleep, &view);
        self.producer.arm(number >> 1, sleep, &view);
        for word in [view.own.data_arm, view.own.space_arm] {
            assert_eq!(Arm::from_word(word.load(Relaxed)).map(|it| it.sleep), Some(sleep));
        }
        let _ = self.consumer.waitpoint().is_reached(view.peer.tail);
        let _ = self.producer.waitpoint(number).is_reached(view.peer.head);
    }

    /// All questions that are asked of the words; none of them may panic.
    fn look(&self, number: u64) {
        let view = self.view();
        let outlook = Outlook::of(&view);
        let _ = (outlook.has_ended_since(&view), outlook.has_closed_since(&view), closings(&view));
        let _ = (
            view.is_reader_due(),
            view.is_writer_due(CAPACITY as u64),
            view.is_all_read(Some(number)),
        );
        let _ = (view.has_written_beyond(number), view.is_on_one_processor());
        let _ = (view.is_on_two_processors(), self.consumer.is_batch_due(&view));
        let _ = (self.consumer.is_left_behind(&view), self.producer.is_left_behind(&view));
        let _ = self.consumer.is_next_lost();
        let _ = self.consumer.next_mark(&view);
        let _ = (Sleepers::of(&view.peer), Half::Reading.is_ended(&view.peer));
        match number % 64 {
            0 => drop(end(Half::Writing, &view)),
            1 => drop(end(Half::Reading, &view)),
            2 => drop(note_closing(&view)),
            3 => view.show_processor(Some(number as u32)),
            _ => {}
        }
    }

    /// What a fork does: it believes what its parent published, if that can be.
    fn resume(&mut self) {
        let view = self.view();
        if self.consumer.resume(&view).is_ok() {
            self.read = self.consumer.head();
            self.heard = view.peer.tail.load(Relaxed);
        }
        if self.producer.resume(&view).is_ok() {
            self.written = self.producer.tail();
            self.acknowledged = view.peer.head.load(Relaxed);
        }
    }
}

fn each_word(control: &Control) -> [&AtomicU64; 14] {
    [
        &control.written.tail,
        &control.read.head,
        &control.written.batches,
        &control.read.taken,
        &control.over.ended,
        &control.over.closings,
        &control.data_arm.0,
        &control.space_arm.0,
        &control.processor.0,
        &control.superblock.magic,
        &control.superblock.capacity,
        &control.marks.0[0],
        &control.written.notes,
        &control.read.handed,
    ]
}

fn words(control: &Control) -> Words<'_, AtomicU64> {
    Words {
        tail: &control.written.tail,
        batches: &control.written.batches,
        notes: &control.written.notes,
        head: &control.read.head,
        taken: &control.read.taken,
        handed: &control.read.handed,
        ended: &control.over.ended,
        closings: &control.over.closings,
        data_arm: &control.data_arm.0,
        space_arm: &control.space_arm.0,
        marks: &control.marks.0,
        processor: &control.processor.0,
    }
}
