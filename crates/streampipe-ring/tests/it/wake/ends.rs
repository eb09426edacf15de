use std::cell::RefCell;
use std::rc::Rc;

use loom::cell::Cell;
use streampipe_ring::{
    Capacity, Consumer, Half, Producer, Sleep, Sleepers, View, closings, end, note_closing,
};

use super::beds::{Futex, Lifeline};
use super::memory::{Modelled, control};
use crate::memory::Control;

/// Bytes come in sixteenths of the ring: a writer waits for four, a reader looks behind a fence after two.
pub(super) const UNIT: u64 = 256;

/// So many fill the ring.
pub(super) const FULL: u64 = 16;

/// What the two ends share.
#[derive(Debug)]
pub(super) struct Pair {
    controls: [Control<Modelled>; 2],
    /// Of each end's tail and head.
    futexes: [[Futex; 2]; 2],
    /// Where each end sleeps.
    lifelines: [Lifeline; 2],
    /// What each end has written: loom reports whoever touches a place while another may.
    places: [Vec<Cell<u64>>; 2],
    /// What travels with each end's first batch of descriptors.
    batch: [Cell<u64>; 2],
    /// What the kernel knows of each end: whether it is closed.
    closed: [Cell<bool>; 2],
}

impl Pair {
    pub(super) fn new() -> Rc<Self> {
        let futexes = || [Futex::new(), Futex::new()];
        let places = || (0..FULL).map(|_| Cell::new(0)).collect();
        Rc::new(Self {
            controls: [control(), control()],
            futexes: [futexes(), futexes()],
            lifelines: [Lifeline::new(), Lifeline::new()],
            places: [places(), places()],
            batch: [Cell::new(0), Cell::new(0)],
            closed: [Cell::new(false), Cell::new(false)],
        })
    }

    pub(super) fn end(self: &Rc<Self>, number: usize) -> End {
        End { pair: Rc::clone(self), number }
    }

    /// The time of all sleeps on a futex is over.
    pub(super) fn time_is_over(&self) {
        for futex in self.futexes.iter().flatten() {
            futex.time_is_over();
        }
    }
}

/// Where somebody sleeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bed {
    Futex,
    Lifeline,
    /// On the futex, where its time is over at once, then at the lifeline.
    Both,
    /// Nowhere: it looks again and again.
    Awake,
}

/// One of the two ends, as the engine drives it.
#[derive(Clone, Debug)]
pub(super) struct End {
    pair: Rc<Pair>,
    number: usize,
}

impl End {
    pub(super) fn view(&self) -> View<'_, Modelled> {
        self.own().view(self.peer())
    }

    pub(super) fn writer(&self) -> Writer {
        Writer { end: self.clone(), producer: Producer::new(Capacity::LEAST) }
    }

    pub(super) fn reader(&self) -> Reader {
        Reader { end: self.clone(), consumer: Consumer::new(Capacity::LEAST) }
    }

    pub(super) fn end(&self, half: Half) {
        self.wake(end(half, &self.view()));
    }

    /// Closes it, as far as the peer's kernel is concerned, and says that it should look.
    pub(super) fn close(&self) {
        self.pair.closed[self.number].set(true);
        self.wake(note_closing(&self.view()));
    }

    fn own(&self) -> &Control<Modelled> {
        &self.pair.controls[self.number]
    }

    fn peer(&self) -> &Control<Modelled> {
        &self.pair.controls[1 - self.number]
    }

    fn wake(&self, sleepers: Sleepers) {
        self.wake_reader(sleepers.reader);
        self.wake_writer(sleepers.writer);
    }

    fn wake_reader(&self, sleep: Option<Sleep>) {
        match sleep {
            None => {}
            Some(Sleep::OnFutex) => self.pair.futexes[self.number][0].wake(),
            Some(Sleep::AtLifeline) => self.pair.lifelines[1 - self.number].ring(),
        }
    }

    fn wake_writer(&self, sleep: Option<Sleep>) {
        match sleep {
            None => {}
            Some(Sleep::OnFutex) => self.pair.futexes[self.number][1].wake(),
            Some(Sleep::AtLifeline) => self.pair.lifelines[1 - self.number].ring(),
        }
    }

    /// Repeats a call until it does not have to wait.
    fn patiently<T>(
        &self,
        bed: Bed,
        mut call: impl FnMut() -> Option<T>,
        arm: impl Fn(Sleep),
        sleep_on_futex: impl Fn(),
    ) -> T {
        loop {
            if let Some(done) = call() {
                return done;
            }
            if bed == Bed::Awake {
                loom::thread::yield_now();
                continue;
            }
            if bed != Bed::Lifeline {
                arm(Sleep::OnFutex);
                if let Some(done) = call() {
                    return done;
                }
            }
            if bed == Bed::Futex {
                sleep_on_futex();
                continue;
            }
            arm(Sleep::AtLifeline);
            if let Some(done) = call() {
                return done;
            }
            self.pair.lifelines[self.number].sleep();
        }
    }
}

/// The peer reads no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Broken;

#[derive(Debug)]
pub(super) struct Writer {
    end: End,
    pub(super) producer: Producer,
}

impl Writer {
    /// Writes so many units, together where there is room.
    pub(super) fn write(&mut self, units: u64, bed: Bed) -> Result<(), Broken> {
        let mut left = units * UNIT;
        while left > 0 {
            left -= self.write_some(left, bed)?;
        }
        Ok(())
    }

    fn write_some(&mut self, most: u64, bed: Bed) -> Result<u64, Broken> {
        self.patiently(1, bed, |end, producer| Self::try_write(end, producer, most))
    }

    /// Writes so many units at once, when there is room for all of them.
    pub(super) fn write_at_once(&mut self, units: u64, bed: Bed) -> Result<(), Broken> {
        self.patiently(units * UNIT, bed, |end, producer| {
            let space = producer.space(units * UNIT, &end.view()).unwrap();
            (space >= units * UNIT).then_some(())
        });
        self.write(units, bed)
    }

    fn patiently<T>(
        &mut self,
        wanted: u64,
        bed: Bed,
        mut call: impl FnMut(&End, &mut Producer) -> Option<T>,
    ) -> T {
        let Self { end, producer } = self;
        let producer = RefCell::new(producer);
        end.patiently(
            bed,
            || call(end, &mut producer.borrow_mut()),
            |sleep| producer.borrow().arm(wanted, sleep, &end.view()),
            || {
                let low = producer.borrow().waitpoint(wanted).low_half();
                end.pair.futexes[1 - end.number][1].sleep(&end.peer().head, low);
            },
        )
    }

    fn try_write(end: &End, producer: &mut Producer, most: u64) -> Option<Result<u64, Broken>> {
        let view = end.view();
        if Half::Reading.is_ended(&view.peer) {
            return Some(Err(Broken));
        }
        if closings(&view) > 0 && end.pair.closed[1 - end.number].get() {
            return Some(Err(Broken));
        }
        let len = producer.space(most, &view).unwrap().min(most);
        if len == 0 {
            return None;
        }
        for unit in 0..len / UNIT {
            let number = producer.tail() / UNIT + unit;
            end.pair.places[end.number][(number % FULL) as usize].set(number + 1);
        }
        end.wake_reader(producer.publish(len, &view).unwrap());
        Some(Ok(len))
    }

    /// A copy, as a fork of the process has it.
    pub(super) fn fork(&self) -> Self {
        Self { end: self.end.clone(), producer: self.producer.clone() }
    }

    /// Goes on as a fork of the process does, which had a copy all along.
    pub(super) fn resume(&mut self) {
        let woken = self.producer.resume(&self.end.view()).unwrap();
        self.end.wake_reader(woken);
    }

    /// Writes a unit, and is killed before it has woken anybody.
    pub(super) fn write_and_die(mut self) {
        let number = self.producer.tail() / UNIT;
        self.end.pair.places[self.end.number][(number % FULL) as usize].set(number + 1);
        let _ = self.producer.publish(UNIT, &self.end.view()).unwrap();
    }

    /// Writes a unit with the first batch of descriptors.
    pub(super) fn write_batch(&mut self, bed: Bed) -> Result<(), Broken> {
        self.end.pair.batch[self.end.number].set(1);
        self.producer.note_batch(&self.end.view());
        self.write(1, bed)
    }
}

#[derive(Clone, Debug)]
pub(super) struct Reader {
    end: End,
    pub(super) consumer: Consumer,
}

impl Reader {
    /// Waits until there is something, and says how many units; 0 at the end.
    pub(super) fn wait(&mut self, bed: Bed) -> u64 {
        let Self { end, consumer } = self;
        let consumer = RefCell::new(consumer);
        end.patiently(
            bed,
            || Self::look(end, &mut consumer.borrow_mut()),
            |sleep| consumer.borrow().arm(sleep, &end.view()),
            || {
                let low = consumer.borrow().waitpoint().low_half();
                end.pair.futexes[1 - end.number][0].sleep(&end.peer().tail, low);
            },
        )
    }

    fn look(end: &End, consumer: &mut Consumer) -> Option<u64> {
        let view = end.view();
        let available = consumer.available(1, &view).unwrap() / UNIT;
        if available > 0 {
            return Some(available);
        }
        if !Half::Writing.is_ended(&view.peer) {
            return None;
        }
        // What it wrote last is there now, if it was not before.
        Some(consumer.available(1, &view).unwrap() / UNIT)
    }

    /// Reads so many units that are there.
    pub(super) fn take(&mut self, units: u64) {
        for unit in 0..units {
            let number = self.consumer.head() / UNIT + unit;
            let place = &self.end.pair.places[1 - self.end.number][(number % FULL) as usize];
            assert_eq!(place.get(), number + 1);
        }
        let woken = self.consumer.release(units * UNIT, &self.end.view()).unwrap();
        self.end.wake_writer(woken);
    }

    /// Reads so many units as they come.
    pub(super) fn read(&mut self, mut units: u64, bed: Bed) {
        while units > 0 {
            let there = self.wait(bed);
            assert!(there > 0, "the end, and {units} units to come");
            let there = there.min(units);
            self.take(there);
            units -= there;
        }
    }

    /// Reads to the end; says how many units that were.
    pub(super) fn read_to_the_end(&mut self, bed: Bed) -> u64 {
        let mut units = 0;
        loop {
            match self.wait(bed) {
                0 => return units,
                there => {
                    self.take(there);
                    units += there;
                }
            }
        }
    }

    /// Takes the descriptors that were announced; says whether there were any.
    pub(super) fn take_batch(&mut self) -> bool {
        if self.consumer.batches_left() == 0 {
            return false;
        }
        assert_eq!(self.end.pair.batch[1 - self.end.number].get(), 1);
        self.consumer.note_taken(&self.end.view());
        true
    }

    /// Goes on as a fork of the process does, which had a copy all along.
    pub(super) fn resume(&mut self) {
        let woken = self.consumer.resume(&self.end.view()).unwrap();
        self.end.wake_writer(woken);
    }

    /// Reads so many units that are there, and is killed before it has woken anybody.
    pub(super) fn take_and_die(mut self, units: u64) {
        let _ = self.consumer.release(units * UNIT, &self.end.view()).unwrap();
    }
}
