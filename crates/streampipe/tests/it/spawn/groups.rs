//! Supplementary groups of a child with another user: as std, whatever rights the parent has.
//!
//! Whether a process may change its groups is a question of capabilities and namespaces, not of its user id. So
//! each parent here is started with other rights, and starts the same program by std and by this library.

use std::os::unix::process::CommandExt as _;

use streampipe::{Command, SpawnStep};

use super::helpers::{may_be_dumpable_again, path_of};
use crate::support;

/// What a parent here has: `adm`, `disk`, `sudo` on many systems.
const GROUPS: &str = "4,6,27";

/// A user that runs nothing else.
const USER: u32 = 54_323;

/// Prints who the program is.
const WHO: &str = "id -u; id -ru; id -g; id -rg; id -G";

/// What a start came to: the program's output, or the error's number.
type Came = Result<String, Option<i32>>;

/// Starts the same program by std and by this library, which must come to the same; returns to what.
macro_rules! same_as_std {
    (|$it:ident| $set:expr) => {{
        let by_std: Came = {
            let mut $it = std::process::Command::new("sh");
            $it.args(["-c", WHO]);
            $set;
            $it.output()
                .map(|output| String::from_utf8(output.stdout).expect("text"))
                .map_err(|error| error.raw_os_error())
        };
        let by_us: Came = {
            let mut $it = Command::new("sh");
            $it.args(["-c", WHO]).stdout(streampipe::Stdio::piped());
            $set;
            match $it.spawn() {
                Ok(child) => {
                    let output = child.wait_with_output().expect("a status");
                    Ok(String::from_utf8(output.stdout).expect("text"))
                }
                Err(error) => Err(error.raw_os_error()),
            }
        };
        assert_eq!(by_us, by_std, stringify!($set));
        by_us
    }};
}

/// Which of the parent's groups the program said that it has.
fn kept(came: &Came) -> Vec<&str> {
    let said = came.as_ref().expect("it starts");
    let groups = said.lines().last().expect("a line").split_whitespace();
    groups.filter(|group| GROUPS.split(',').any(|own| own == *group)).collect()
}

/// Runs the body in a process that this prefix gives other rights; skips if it cannot be started so.
fn with_rights(path: &str, prefix: &[&str], body: impl FnOnce()) {
    if support::is_alone(path) {
        return support::checked(body);
    }
    let what = "a parent with other rights";
    if !rustix::process::geteuid().is_root() {
        return support::skip(what, "this is not root, who could give them");
    }
    if !prefix
        .iter()
        .filter(|it| ["setpriv", "unshare"].contains(it))
        .all(|it| support::has_program(it, what))
    {
        return;
    }
    let ran = support::rerun(path, prefix);
    let refusals = ["failed to execute", "unshare: ", "setpriv: "];
    if let Some(why) = ran.output.lines().find(|line| refusals.iter().any(|it| line.contains(it))) {
        return support::skip(what, why);
    }
    assert!(ran.status.success(), "behind {prefix:?}: {}\n{}", ran.status, ran.output);
    support::pass_on_skips(&ran.output);
}

/// A service user whose ambient capabilities let it change users and groups, as systemd starts them.
#[test]
fn a_user_with_capabilities_gives_up_its_groups() {
    // Its descriptors cannot be listed while it is not dumpable.
    if !may_be_dumpable_again() {
        return;
    }
    let prefix = [
        "setpriv",
        "--reuid=1000",
        "--regid=1000",
        &format!("--groups={GROUPS}"),
        "--inh-caps=-all,+setuid,+setgid",
        "--ambient-caps=-all,+setuid,+setgid",
    ];
    with_rights(path_of!(a_user_with_capabilities_gives_up_its_groups), &prefix, || {
        assert_eq!(kept(&same_as_std!(|it| it.env("A", "1"))), ["4", "6", "27"], "the control");
        assert_eq!(kept(&same_as_std!(|it| it.uid(USER))), [""; 0]);
        assert_eq!(kept(&same_as_std!(|it| it.uid(USER).gid(USER))), [""; 0]);
        // Without another user nothing is given up.
        assert_eq!(kept(&same_as_std!(|it| it.gid(USER))), ["4", "6", "27"]);
        // What is asked for is what there is.
        let mut command = Command::new("id");
        let output =
            command.arg("-G").uid(USER).gid(USER).groups(&[4]).output().expect("it starts");
        assert_eq!(output.stdout, format!("{USER} 4\n").as_bytes());
    });
}

/// With `CAP_SETUID` the program could take its parent's identity again, or any other.
#[test]
fn a_user_with_ambient_capabilities_leaves_them_to_no_other_user() {
    if !may_be_dumpable_again() {
        return;
    }
    let prefix = [
        "setpriv",
        "--reuid=1000",
        "--regid=1000",
        "--clear-groups",
        "--inh-caps=-all,+setuid,+setgid",
        "--ambient-caps=-all,+setuid,+setgid",
    ];
    let path = path_of!(a_user_with_ambient_capabilities_leaves_them_to_no_other_user);
    with_rights(path, &prefix, || {
        let capabilities = |set: fn(&mut Command) -> &mut Command| {
            let mut command = Command::new("grep");
            let said = set(command.args(["-E", "Cap(Eff|Prm|Amb)", "/proc/self/status"])).output();
            String::from_utf8(said.expect("it starts").stdout).expect("text")
        };
        let none = capabilities(|it| it.uid(USER).gid(USER));
        assert_eq!(
            none.lines().filter(|line| line.ends_with("0000000000000000")).count(),
            3,
            "{none}"
        );
        // The control: without another user they stay.
        let kept = capabilities(|it| it);
        assert_eq!(
            kept.lines().filter(|line| line.ends_with("00000000000000c0")).count(),
            3,
            "{kept}"
        );
    });
}

/// A program that is set-user-ID root: its real user is not root.
#[test]
fn a_set_user_id_program_gives_up_its_groups() {
    let prefix = ["setpriv", "--ruid=1000", "--rgid=1000", &format!("--groups={GROUPS}")];
    with_rights(path_of!(a_set_user_id_program_gives_up_its_groups), &prefix, || {
        assert!(!rustix::process::getuid().is_root(), "the control");
        assert_eq!(kept(&same_as_std!(|it| it.uid(USER).gid(USER))), [""; 0]);
    });
}

/// In a user namespace that denies `setgroups`, as every one does that an ordinary user makes.
#[test]
fn root_of_a_user_namespace_starts_programs_as_another_user() {
    let prefix =
        ["setpriv", "--reuid=1000", "--regid=1000", "--clear-groups", "unshare", "-U", "-r"];
    with_rights(
        path_of!(root_of_a_user_namespace_starts_programs_as_another_user),
        &prefix,
        || {
            assert!(rustix::process::getuid().is_root(), "the control");
            same_as_std!(|it| it.uid(0)).expect("it starts");
            same_as_std!(|it| it.uid(0).gid(0)).expect("it starts");
            // What was asked for is an error all the same, and says which step.
            let error = Command::new("true").uid(0).groups(&[]).spawn().expect_err("it is denied");
            assert_eq!((error.step(), error.raw_os_error()), (SpawnStep::Identity, Some(1)));
        },
    );
}

/// Root that gave up the right to change its groups, not its user.
#[test]
fn root_without_the_right_keeps_its_groups_and_starts() {
    let groups = format!("--groups={GROUPS}");
    let prefix = ["setpriv", &groups, "--inh-caps=-setgid", "--bounding-set=-setgid"];
    with_rights(path_of!(root_without_the_right_keeps_its_groups_and_starts), &prefix, || {
        assert!(rustix::process::getuid().is_root(), "the control");
        let came = same_as_std!(|it| it.uid(USER));
        assert_eq!(kept(&came), ["4", "6", "27"]);
        assert_eq!(same_as_std!(|it| it.uid(USER).gid(USER)), Err(Some(1)));
    });
}
