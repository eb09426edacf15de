//! Systems that do not tell a socket's cookie (gVisor; a filter): the inode stands in the variable.

use std::ffi::OsStr;
use std::os::fd::AsFd;

use streampipe::os::linux::EndExt;
use streampipe::{Command, NotInherited};

use super::adopted::talk;
use super::refused::{silent_pair, told};
use super::worker;
use crate::spawn::helpers::path_of;
use crate::spawn::system::on_system;
use crate::support::{self, tests_alone};

/// A system that refuses the question.
const NO_COOKIES: [&str; 1] = ["TEST_REFUSED=SO_COOKIE=ENOPROTOOPT"];

fn with_inode(inode: u64) -> String {
    format!("1:3:stream:inode={inode}")
}

#[test]
fn a_child_finds_its_end_without_a_cookie() {
    on_system(path_of!(a_child_finds_its_end_without_a_cookie), &NO_COOKIES, || {
        let (_ours, theirs) = silent_pair();
        assert_eq!(theirs.cookie().expect_err("the control").raw_os_error(), Some(92));
        for number in [3, 7, 63] {
            assert_eq!(talk(worker("adopt").fd(number)), format!("adopted as {number}"));
        }
        let mut shell = Command::new("sh");
        let output = shell.args(["-c", "echo $STREAMPIPE_END"]).output().expect("it starts");
        assert!(output.stdout.starts_with(b"1:3:stream:inode="), "{output:?}");
        let mut ring = worker("adopt");
        assert_eq!(talk(ring.engine(streampipe::Engine::Ring)), "adopted as 3");
    });
}

#[test]
fn another_socket_is_not_taken_for_it_without_a_cookie() {
    on_system(path_of!(another_socket_is_not_taken_for_it_without_a_cookie), &NO_COOKIES, || {
        let (ours, theirs) = silent_pair();
        let [own, other] = [&theirs, &ours].map(|end| support::identity(end.as_fd()).1);
        let another = format!("{:?}", NotInherited::AnotherFile { number: 3 });
        assert_eq!(told(&theirs, OsStr::new(&with_inode(other))), another);
        assert_eq!(told(&theirs, OsStr::new(&with_inode(own))), "adopted as 3", "the control");
        // One that has a cookie in the variable comes from elsewhere, or cannot be looked at.
        let unknown = format!("{:?}", NotInherited::System { errno: 92 });
        assert_eq!(told(&theirs, OsStr::new("1:3:stream:4711")), unknown);
    });
}

tests_alone! {
    /// A parent under qemu-user has none, and a child that runs natively has.
    fn an_inode_names_the_socket_where_there_are_cookies_too() {
        let (ours, theirs) = silent_pair();
        let [own, other] = [&theirs, &ours].map(|end| support::identity(end.as_fd()).1);
        assert_eq!(told(&theirs, OsStr::new(&with_inode(own))), "adopted as 3");
        let another = format!("{:?}", NotInherited::AnotherFile { number: 3 });
        assert_eq!(told(&theirs, OsStr::new(&with_inode(other))), another);
    }
}
