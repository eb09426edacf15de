//! The call itself.

use streampipe::{Family, Type, UnsupportedPair, socketpair};

use crate::support::{Descriptors, FreeDescriptors, checked, tests_alone};

const INET: Family = Family::from_raw(2);
const EINVAL: i32 = 22;
const EMFILE: i32 = 24;
const EPROTONOSUPPORT: i32 = 93;
const ESOCKTNOSUPPORT: i32 = 94;
const EOPNOTSUPP: i32 = 95;
const EAFNOSUPPORT: i32 = 97;

/// The number inside the refusal of these arguments.
fn refused(family: Family, kind: Type, protocol: i32) -> i32 {
    let before = Descriptors::now();
    let error = socketpair(family, kind, protocol).expect_err("not a pair");
    assert_eq!(before, Descriptors::now(), "a refused call opened something");
    let text = error.to_string();
    assert!(text.contains("AF_LOCAL") && text.contains("SOCK_SEQPACKET"), "{text}");
    let inside = error.get_ref().and_then(|inside| inside.downcast_ref::<UnsupportedPair>());
    let errno = inside.expect("our own kind inside").errno();
    assert!(text.contains(&format!("os error {errno}")), "{text}");
    errno
}

tests_alone! {
    fn the_three_types_make_pairs_that_are_close_on_exec() {
        for kind in [Type::STREAM, Type::DGRAM, Type::SEQPACKET] {
            let (a, b) = socketpair(Family::LOCAL, kind, 0).expect("a pair");
            for end in [&a, &b] {
                let flags = rustix::io::fcntl_getfd(end).unwrap();
                assert!(flags.contains(rustix::io::FdFlags::CLOEXEC));
                assert!(!rustix::fs::fcntl_getfl(end).unwrap().contains(rustix::fs::OFlags::NONBLOCK));
            }
        }
    }

    fn nonblock_in_a_raw_type_is_honoured_on_both_ends() {
        let kind = Type::from_raw(Type::STREAM.as_raw() | 0o4000 | 0o2000000);
        let (a, b) = socketpair(Family::UNIX, kind, 0).expect("a pair");
        for end in [&a, &b] {
            assert!(rustix::fs::fcntl_getfl(end).unwrap().contains(rustix::fs::OFlags::NONBLOCK));
        }
    }

    fn another_family_is_refused_as_the_kernel_says() {
        assert_eq!(refused(INET, Type::STREAM, 0), EOPNOTSUPP);
        assert_eq!(refused(INET, Type::DGRAM, 0), EOPNOTSUPP);
        assert_eq!(refused(INET, Type::STREAM, 1), EPROTONOSUPPORT);
        assert_eq!(refused(INET, Type::DGRAM, 6), EPROTONOSUPPORT);
        assert_eq!(refused(INET, Type::from_raw(75), 0), EINVAL);
        for family in [0, -1, 1000] {
            assert_eq!(refused(Family::from_raw(family), Type::STREAM, 0), EAFNOSUPPORT);
        }
    }

    fn another_type_is_refused() {
        for kind in [0, 3, 4, 6, 10] {
            assert_eq!(refused(Family::LOCAL, Type::from_raw(kind), 0), ESOCKTNOSUPPORT, "{kind}");
        }
        for kind in [7 + 4, 75, 99, -1, Type::STREAM.as_raw() | 0x1000, i32::MIN] {
            assert_eq!(refused(Family::LOCAL, Type::from_raw(kind), 0), EINVAL, "{kind}");
        }
    }

    fn a_protocol_other_than_0_is_refused_even_the_one_linux_takes() {
        for protocol in [1, 2, 6, -1, i32::MAX] {
            assert_eq!(refused(Family::LOCAL, Type::STREAM, protocol), EPROTONOSUPPORT);
        }
    }

    fn one_free_descriptor_is_not_enough_and_stays_free() {
        let free = FreeDescriptors::exactly(1);
        let error = socketpair(Family::LOCAL, Type::STREAM, 0).expect_err("no room");
        assert_eq!(error.raw_os_error(), Some(EMFILE));
        let one = std::io::stdin();
        let dup = rustix::io::fcntl_dupfd_cloexec(&one, 0).expect("the one is still free");
        drop((dup, free));
    }

    fn a_refused_family_leaves_a_full_table_alone() {
        let free = FreeDescriptors::exactly(0);
        assert!(socketpair(INET, Type::STREAM, 0).is_err());
        assert!(socketpair(Family::LOCAL, Type::STREAM, 0).is_err());
        drop(free);
    }
}

/// The check that all tests here rely on can fail.
#[test]
fn a_leak_on_purpose_is_caught() {
    const PATH: &str = concat!(module_path!(), "::a_leak_on_purpose_is_caught");
    if crate::support::is_alone(PATH) {
        return checked(|| std::mem::forget(streampipe::pair()));
    }
    let ran = crate::support::rerun(PATH, &[]);
    assert!(!ran.status.success());
    assert!(ran.output.contains("left other descriptors"), "{}", ran.output);
}
