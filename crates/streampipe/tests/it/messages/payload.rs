use streampipe::{Bytes, channel};

use crate::support::tests_alone;

tests_alone! {
    fn a_payload_is_changed_where_it_is_and_sent_back() {
        let (ours, theirs) = channel::<(u8, Bytes), Bytes>().expect("a pair");
        for size in [0, 1, 100, 5_000, 100_000] {
            ours.send((3, vec![7; size].into())).expect("room");
            let (_, mut payload) = theirs.recv().expect("a value");
            let place = payload.as_ptr();
            payload.make_mut().fill(9);
            assert_eq!((payload.len(), payload.as_ptr()), (size, place));
            theirs.send(payload).expect("room");
            assert_eq!(ours.recv().expect("an answer"), vec![9; size]);
        }
    }

    fn a_change_is_not_seen_by_who_shares_the_memory() {
        let (ours, theirs) = channel::<(Bytes, Bytes), ()>().expect("a pair");
        for size in [100, 5_000] {
            ours.send((vec![1; size].into(), vec![2; size].into())).expect("room");
            let (mut first, second) = theirs.recv().expect("a value");
            let copy = second.clone();
            first.make_mut().fill(3);
            assert_eq!((first, second, copy), (
                Bytes::from(vec![3; size]),
                Bytes::from(vec![2; size]),
                Bytes::from(vec![2; size]),
            ));
        }
    }
}
